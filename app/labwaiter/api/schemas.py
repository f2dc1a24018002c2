"""What is asked and answered, as marshmallow has it: it checks what is asked, and describes both in the document."""

from __future__ import annotations

from typing import Any

from marshmallow import EXCLUDE, RAISE, Schema, fields, validate

from ..model.contract import MESSAGE_MAX, SERVICE_ID_MAX
from ..model.direct_control import LONGEST
from ..model.panel import What
from ..model.record import State
from ..store.upkeep import NOTE_MAX
from ..verbs.control import TEXT_MAX
from ..verbs.monitoring import EVENTS_MAX, POINTS_MAX

LISTED, LISTED_MAX = 50, 500  # executions of one answer
LOG_PART, LOG_PART_MAX = 60_000, 1_000_000  # bytes of a log in one answer
WAIT_MAX = 30.0  # s: less than what proxies wait for an answer
STATES = [str(state) for state in State]


def _said(words: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"description": words, **more}}


def _time(words: str) -> fields.Float:
    return fields.Float(allow_none=True, **_said(words + ": Unix time, s"))


# -- what is asked ------------------------------------------------------------------------------


class _Asked(Schema):
    class Meta:
        unknown = RAISE


class Listing(_Asked):
    """Which executions."""

    state = fields.List(
        fields.String(validate=validate.OneOf(STATES)), **_said("Only these; named several times for several.")
    )
    service = fields.String(**_said("Only those of this service."))
    user = fields.String(**_said("Only those of this user."))
    serviceID = fields.String(**_said("Only this one."))
    since = fields.Float(**_said("Only those that were asked for at this time or later: Unix time, s."))
    until = fields.Float(**_said("Only those that were asked for before: Unix time, s."))
    limit = fields.Integer(load_default=LISTED, validate=validate.Range(1, LISTED_MAX), **_said("At most so many."))
    before = fields.String(**_said("Go on behind what was answered before: `next` of that."))


class Waiting(_Asked):
    """For how long."""

    wait = fields.Float(
        load_default=0.0,
        validate=validate.Range(0, WAIT_MAX),
        **_said(
            "Answer once it is another one than If-None-Match says (without that: than it is now), or after so"
            " many seconds."
        ),
    )


class Start(_Asked):
    """An execution to be started."""

    service = fields.String(required=True, **_said("The service's name."))
    serviceID = fields.String(
        validate=validate.Length(1, SERVICE_ID_MAX),
        **_said("The execution's name, one for ever: the same start again is the same execution. Made unless given."),
    )
    inputs = fields.Dict(
        keys=fields.String(), load_default=dict, **_said("By name; those that are left out have their defaults.")
    )


class Message(_Asked):
    """A message to an execution."""

    message = fields.String(required=True, validate=validate.Length(1, MESSAGE_MAX))


class Reservation(_Asked):
    """For how long an instrument is reserved."""

    minutes = fields.Float(load_default=60.0, validate=validate.Range(0.1, 60 * 24 * 30))


class Reason(_Asked):
    """Why an instrument is taken out of service."""

    reason = fields.String(required=True, **_said("Those who wait for it are told."))


class Last(_Asked):
    """How much of a log."""

    last = fields.Integer(
        load_default=100, validate=validate.Range(1, 10_000), **_said("So many events, the newest ones.")
    )


class LogPart(_Asked):
    """Which part of a log."""

    at = fields.Integer(
        load_default=None,
        data_key="from",
        validate=validate.Range(0, 10**15),
        **_said("The byte at which it begins; its end unless given."),
    )
    most = fields.Integer(
        load_default=LOG_PART, data_key="bytes", validate=validate.Range(1, LOG_PART_MAX), **_said("At most so many.")
    )


class Note(_Asked):
    """A note in an instrument's log."""

    text = fields.String(required=True, validate=validate.Length(1, NOTE_MAX))


class Taking(_Asked):
    """For how long an instrument is taken in hand, at most."""

    minutes = fields.Float(load_default=60.0, validate=validate.Range(0.1, LONGEST / 60))


class SetTo(_Asked):
    """What a control is set to."""

    value = fields.Raw(required=True, allow_none=False, **_said("A number, a text or a truth value, as it takes it."))


class Inputs(_Asked):
    """What an action takes."""

    inputs = fields.Dict(keys=fields.String(), load_default=dict, **_said("By name."))


class Asking(_Asked):
    """A request for an instrument that somebody has in hand."""

    text = fields.String(load_default="", validate=validate.Length(0, TEXT_MAX), **_said("What is said to who has it."))


class Queues(_Asked):
    """Whose queues are cleared."""

    machines = fields.List(
        fields.String(),
        load_default=None,
        allow_none=True,
        validate=validate.Length(1),
        **_said("All unless given. A lab of one machine has but one, without a name."),
    )


class Names(_Asked):
    """Which instruments."""

    names = fields.List(
        fields.String(),
        load_default=None,
        allow_none=True,
        validate=validate.Length(1),
        **_said("All of the lab unless given."),
    )


class Span(_Asked):
    """Which time of a history."""

    since = fields.Float(validate=validate.Range(0, 1e11), **_said("Unix time, s; a day before `until` unless given."))
    until = fields.Float(validate=validate.Range(0, 1e11), **_said("Unix time, s; now unless given."))
    points = fields.Integer(validate=validate.Range(1, POINTS_MAX), **_said("At most so many of each reading."))


class EventsAsked(_Asked):
    """Which events."""

    limit = fields.Integer(load_default=LISTED, validate=validate.Range(1, EVENTS_MAX), **_said("At most so many."))
    since = fields.Float(validate=validate.Range(0, 1e11), **_said("Unix time, s."))
    instrument = fields.String(**_said("Only those of this one."))


# -- what is answered ---------------------------------------------------------------------------


class _Told(Schema):
    class Meta:
        unknown = EXCLUDE


class Problem(_Told):
    """What was wrong (RFC 9457)."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True, **_said("A sentence for a person: what was wrong, what to do."))
    code = fields.String(required=True, **_said("The contract's errorCode, as SOAP's faults have it."))


class Index(_Told):
    """What there is."""

    version = fields.String(required=True)
    links = fields.Dict(keys=fields.String(), values=fields.String(), required=True)


class Me(_Told):
    """Who calls, and what that somebody may."""

    user = fields.String(required=True)
    project = fields.String(required=True)
    role = fields.String(required=True)
    authority = fields.String(required=True, **_said("The authentication manager whose word it is; empty: none."))
    tokens = fields.String(required=True, **_said("Whose tokens are good, in a sentence."))
    may = fields.List(fields.String(), required=True, **_said("What for, in words; of executions: the own ones."))


class Parameter(_Told):
    """An input or output."""

    name = fields.String(required=True)
    kind = fields.String(
        required=True, validate=validate.OneOf(["text", "int", "float", "boolean", "file", "instrument"])
    )
    mandatory = fields.Boolean(required=True)
    default = fields.Raw(required=True, allow_none=True)
    choices = fields.List(fields.String(), required=True)
    low = fields.Raw(required=True, allow_none=True, **_said("Inclusive; of a text its length."))
    high = fields.Raw(required=True, allow_none=True)
    unit = fields.String(required=True)
    endings = fields.List(fields.String(), required=True, **_said("Of a file's name."))
    drivers = fields.List(fields.String(), required=True, **_said("Of an instrument."))
    limits = fields.String(required=True, **_said("All this in words."))


class DeclaredMessage(_Told):
    """A message that a service understands."""

    message = fields.String(required=True)
    words = fields.String(required=True, **_said("What it does."))


class Service(_Told):
    """A service."""

    name = fields.String(required=True)
    available = fields.Boolean(required=True)
    why = fields.String(required=True, **_said("Why it isn't available; else empty."))
    doc = fields.String(required=True)
    operation = fields.String(required=True, **_said("SOAP's start operation."))
    namespace = fields.String(required=True)
    wsdl = fields.String(required=True, **_said("Its address."))
    inputs = fields.List(fields.Nested(Parameter), required=True)
    outputs = fields.List(fields.Nested(Parameter), required=True)
    limit = fields.Float(required=True, allow_none=True, **_said("s that it may run."))
    messages = fields.List(fields.Nested(DeclaredMessage), required=True, **_said("That it declares."))


class Services(_Told):
    """All of them."""

    services = fields.List(fields.Nested(Service), required=True)


class Execution(_Told):
    """An execution, as lists have it."""

    serviceID = fields.String(required=True)
    name = fields.String(
        required=True, **_said("In addresses; the serviceID itself where that has letters, digits and -_. alone.")
    )
    href = fields.String(required=True, **_said("Its address."))
    service = fields.String(required=True)
    state = fields.String(required=True, validate=validate.OneOf(STATES))
    why = fields.String(required=True, **_said("Why it failed or was aborted, in a sentence."))
    inputs = fields.Dict(keys=fields.String(), required=True)
    outputs = fields.Dict(
        keys=fields.String(), required=True, allow_none=True, **_said("Once it has completed; null in lists.")
    )
    user = fields.String(required=True)
    project = fields.String(required=True)
    face = fields.String(required=True, **_said("By which it was started: soap, json, shell, python, schedule."))
    created = _time("Asked for")
    started = _time("Began")
    ended = _time("Ended")
    ran = fields.Float(allow_none=True, required=True, **_said("s that it has been running, or ran."))
    stopping = fields.String(allow_none=True, required=True, **_said("Why it is being stopped."))
    confined = fields.Dict(keys=fields.String(), **_said("What held of the limits for what a job may use."))
    machine = fields.String(**_said("Which has it, of many."))
    as_of = _time("Nothing newer is known, because its machine can't be reached")


class Executions(_Told):
    """Executions, those first that were asked for last."""

    executions = fields.List(fields.Nested(Execution), required=True)
    next = fields.String(required=True, allow_none=True, **_said("`before` of the next request; null: these were all."))
    unreadable = fields.Integer(required=True, **_said("How many are left out, for their records can't be read."))
    note = fields.String(required=True, **_said("What is to be said of the list, as that Redis is away."))


class Progress(_Told):
    """How far the work is."""

    fraction = fields.Float(required=True, allow_none=True, **_said("0 to 1; null: not known."))
    stage = fields.String(required=True)
    values = fields.Dict(keys=fields.String(), required=True, **_said("What it recorded last, by name."))
    units = fields.Dict(keys=fields.String(), values=fields.String(), required=True)


class File(_Told):
    """A file that an execution has made."""

    name = fields.String(required=True)
    size = fields.Integer(required=True, **_said("bytes"))
    href = fields.String(required=True)


class Whole(Execution):
    """An execution, and all that a page shows of it but its log and its timeline."""

    progress = fields.Nested(Progress, required=True)
    place = fields.Integer(required=True, allow_none=True, **_said("In the queue, from 1."))
    waitsFor = fields.String(required=True, **_said("For what it waits, in words."))
    limit = fields.Float(required=True, allow_none=True, **_said("s that it may run."))
    silence = fields.Float(
        required=True, allow_none=True, **_said("s since its workflow manager asked, where that counts.")
    )
    hardware = fields.List(fields.String(), required=True, **_said("What is to be said of its instruments."))
    messages = fields.List(fields.String(), required=True, **_said("The last ones that it got."))
    messageCount = fields.Integer(required=True)
    understands = fields.List(fields.Nested(DeclaredMessage), required=True, **_said("The messages that it declares."))
    files = fields.List(fields.Nested(File), required=True, **_said("The first ones that it has made."))
    note = fields.String(required=True)


class Aborted(_Told):
    """What came of an abort."""

    success = fields.Boolean(required=True, **_said("False: the stop goes on by itself; ask again."))


class Reply(_Told):
    """What came of a message."""

    response = fields.String(
        required=True, **_said("The reply, or the message's number where none came within a second.")
    )


class Files(_Told):
    """What an execution has made."""

    files = fields.List(fields.Nested(File), required=True)


class Log(_Told):
    """What an execution has printed."""

    text = fields.String(required=True, **_said("Its last lines."))


class Happening(_Told):
    """One event; what else is known of it stands beside."""

    at = fields.Float(required=True, **_said("Unix time, s"))
    event = fields.String(required=True)


class PartOfLog(_Told):
    """A part of what an execution has printed."""

    text = fields.String(required=True)
    begin = fields.Integer(required=True, data_key="from", **_said("The byte at which it begins."))
    end = fields.Integer(required=True, data_key="to", **_said("The byte behind it: `from` of the next part."))
    length = fields.Integer(required=True, **_said("bytes of the whole log now"))


class Timeline(_Told):
    """What an execution has been through, oldest first, and what it was made by."""

    timeline = fields.List(fields.Nested(Happening), required=True)
    madeBy = fields.Dict(keys=fields.String(), required=True)


class Outputs(_Told):
    """The outputs of an execution that has completed."""

    state = fields.String(required=True, validate=validate.OneOf(STATES))
    why = fields.String(required=True)
    outputs = fields.Dict(
        keys=fields.String(), required=True, allow_none=True, **_said("null before it has completed.")
    )


class OutOfService(_Told):
    """Why an instrument is out of service, or was stopped."""

    why = fields.String(required=True)
    by = fields.String(required=True)
    since = _time("Since when")
    stopped = fields.Boolean(required=True, **_said("By STOP."))


class Use(_Told):
    """How much an instrument was used."""

    seconds = fields.Float(required=True, **_said("s in use, by executions and in hand"))
    executions = fields.Integer(required=True, **_said("That had it."))
    last = _time("When the last one ended")


class Fault(_Told):
    """An instrument's last fault; what else is known of it stands beside."""

    at = fields.Float(required=True, **_said("Unix time, s"))


class Upkeep(Use):
    """How an instrument was used and kept."""

    name = fields.String(required=True)
    outOfService = fields.Nested(OutOfService, required=True, allow_none=True)
    lastFault = fields.Nested(Fault, required=True, allow_none=True)
    log = fields.List(fields.Nested(Happening), required=True, **_said("Oldest first."))


class Item(_Told):
    """What an instrument can be asked, set to or told."""

    name = fields.String(required=True)
    what = fields.String(required=True, validate=validate.OneOf([str(what) for what in What]))
    doc = fields.String(required=True)
    unit = fields.String(required=True)
    inputs = fields.List(
        fields.Dict(keys=fields.String()), required=True, **_said("What it takes: as the inputs of a service.")
    )


class AskedFor(_Told):
    """Somebody would like to have it."""

    by = fields.String(required=True)
    text = fields.String(required=True)
    at = fields.Float(required=True, **_said("Unix time, s"))


class InHand(_Told):
    """An instrument in somebody's hands."""

    instrument = fields.String(required=True)
    serviceID = fields.String(required=True, **_said("Of its execution."))
    by = fields.String(required=True, **_said("Who has it."))
    since = _time("Since when")
    until = _time("Until when, at most")
    own = fields.Boolean(required=True, **_said("It is the caller who has it."))
    identity = fields.String(required=True, **_said("What it said of itself."))
    panel = fields.List(
        fields.Nested(Item),
        required=True,
        allow_none=True,
        **_said("What it can be asked, set to and told; null: it is being opened."),
    )
    readings = fields.Dict(
        keys=fields.String(),
        values=fields.Dict(keys=fields.String()),
        required=True,
        **_said("By name: value, unit and at (Unix time, s), or why it could not be read."),
    )
    asked = fields.List(fields.Nested(AskedFor), required=True, **_said("Who would like to have it, oldest first."))


class Done(_Told):
    """What came of setting or doing something."""

    done = fields.Boolean(required=True, **_said("False: it goes on."))
    read = fields.Dict(
        keys=fields.String(), required=True, allow_none=True, **_said("Of a control, what it says since: as a reading.")
    )


class LetGo(_Told):
    """What came of letting it go."""

    safe = fields.Boolean(required=True, **_said("It was read back safe and is free; false: that goes on."))


class Withdrawn(_Told):
    """What was withdrawn."""

    withdrawn = fields.List(fields.String(), required=True, **_said("The serviceIDs of what never began."))


class Instrument(_Told):
    """An instrument, and who has it."""

    name = fields.String(required=True)
    driver = fields.String(required=True)
    port = fields.String(required=True)
    note = fields.String(required=True)
    state = fields.String(
        required=True,
        **_said(
            "held, making safe, unsafe or reserved; of one that nobody has: stopped, out of service, missing"
            " (nothing is plugged in) or free; not known: its machine isn't heard of."
        ),
    )
    words = fields.String(required=True, **_said("How it stands: free, or who has it."))
    serviceID = fields.String(required=True, **_said("Of the execution that has it, or had it."))
    why = fields.String(required=True)
    since = _time("Since when")
    until = _time("Until when")
    heldAs = fields.String(required=True, **_said("The name under which its device is held."))
    inHandOf = fields.String(required=True, **_said("Who has it in hand, where an operator has."))
    machine = fields.String(required=True, **_said("Which has it, of many; else empty."))
    outOfService = fields.Nested(OutOfService, required=True, allow_none=True)


class Instruments(_Told):
    """All of the lab."""

    instruments = fields.List(fields.Nested(Instrument), required=True)


class Checked(_Told):
    """What came of asking an instrument who it is."""

    name = fields.String(required=True)
    ok = fields.Boolean(required=True)
    said = fields.String(required=True)


class Safe(_Told):
    """What came of making one safe."""

    name = fields.String(required=True)
    safe = fields.Boolean(required=True, **_said("It was read back."))
    why = fields.String(required=True)


class MadeSafe(_Told):
    """What came of making instruments safe."""

    goesOn = fields.Boolean(required=True, **_said("It is still being done: look at the instruments again."))
    results = fields.List(fields.Nested(Safe), required=True)


class StoppedOne(Safe):
    """What came of STOP for one."""

    machine = fields.String(required=True, **_said("Which has it, where that is another one than answers."))


class Stopped(_Told):
    """What came of STOP."""

    results = fields.List(fields.Nested(StoppedOne), required=True)


class LastReading(_Told):
    """What an instrument said last of one thing."""

    reading = fields.String(required=True, **_said("Its name; empty: none of them can be read."))
    at = _time("When")
    value = fields.Raw(required=True, allow_none=True, **_said("null: it could not be read."))
    unit = fields.String(required=True)
    why = fields.String(required=True, **_said("Why it could not be read."))
    beyond = fields.String(
        required=True, validate=validate.OneOf(["", "low", "high"]), **_said("The limit that it has passed.")
    )


class InstrumentReadings(_Told):
    """What one instrument said last."""

    name = fields.String(required=True)
    readings = fields.List(fields.Nested(LastReading), required=True)


class Readings(_Told):
    """What monitored instruments said last."""

    instruments = fields.List(fields.Nested(InstrumentReadings), required=True)


class HistoryOfReading(_Told):
    """One reading over a time."""

    reading = fields.String(required=True)
    unit = fields.String(required=True)
    points = fields.List(
        fields.List(fields.Float()), required=True, **_said("Of each: Unix time (s), mean, lowest, highest.")
    )


class History(_Told):
    """What an instrument said over a time."""

    name = fields.String(required=True)
    since = fields.Float(required=True)
    until = fields.Float(required=True)
    step = fields.Float(required=True, **_said("s between two points."))
    readings = fields.List(fields.Nested(HistoryOfReading), required=True)


class Event(_Told):
    """What an operator should hear of."""

    id = fields.String(required=True, **_said("One for each event, for ever."))
    at = fields.Float(required=True, **_said("Unix time, s"))
    kind = fields.String(required=True, validate=validate.OneOf(["limit", "back", "unsafe", "failed", "waits"]))
    text = fields.String(required=True, **_said("A sentence for people."))
    instrument = fields.String(required=True)
    serviceID = fields.String(required=True)
    service = fields.String(required=True)
    about = fields.Dict(keys=fields.String(), required=True, **_said("Of a limit: reading, value, unit, limit, side."))


class Events(_Told):
    """The last ones, the newest first."""

    events = fields.List(fields.Nested(Event), required=True)


class Schedule(_Told):
    """A schedule."""

    name = fields.String(required=True)
    service = fields.String(required=True)
    times = fields.String(required=True)
    inputs = fields.Dict(keys=fields.String(), required=True)
    next = fields.Float(required=True, **_said("Unix time, s"))
    last = fields.Dict(keys=fields.String(), required=True, allow_none=True, **_said("Its last execution."))
    skipped = fields.Integer(required=True, **_said("Since that."))
    why = fields.String(required=True)


class Schedules(_Told):
    """All of them."""

    schedules = fields.List(fields.Nested(Schedule), required=True)


class Machine(_Told):
    """A machine of the lab."""

    name = fields.String(required=True)
    known = fields.Boolean(required=True, **_said("lab.toml names it."))
    state = fields.String(required=True)
    seen = _time("When it was heard of last")
    version = fields.String(required=True)
    offers = fields.List(fields.String(), required=True)
    active = fields.Integer(required=True)
    waiting = fields.Integer(required=True)
    orders = fields.Integer(required=True)
    clock = fields.Float(required=True, allow_none=True, **_said("s that its clock is ahead of Redis'."))
    same_lab = fields.Boolean(required=True, allow_none=True)
    same_secret = fields.Boolean(required=True, allow_none=True)


class Machines(_Told):
    """All of them; none where there is no Redis between machines."""

    machines = fields.List(fields.Nested(Machine), required=True)
