"""Direct control: the verbs of who takes an instrument in hand. No driver is imported here, and no port opened.

Whoever takes one starts an execution of `model/direct_control.py`, whose process (`runner/holding.py`) has the line;
what is asked here goes there as a message, and comes back as its reply. What is over a limit is refused before that.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from ..errors import InstrumentInUse, JobFailed, Misconfigured, NotInHand, ServiceError, Unavailable
from ..model import direct_control
from ..model.caller import Caller, Identity
from ..model.panel import Item, Panel, What, panel_of
from ..model.record import ENDED, Record, Request, State
from ..model.sentences import N_, plain
from ..model.values import text_of
from ..settings import Settings
from ..store.files import read_bounded
from ..store.leases import Held, Leases
from ..store.local_store import LocalStore
from ..store.names import folder_name
from ..store.upkeep import Upkeep
from ..system.watch import until
from .acts import Acts
from .instruments import WHO_MAX, Instruments, bounded
from .permission import Action, may, permit

WAIT = 7.5  # s that a caller waits for an answer; then it hears that it goes on
LARGEST = 1_000_000  # bytes of what the process on the line writes
TEXT_MAX = 500  # characters of what is said to the holder


@dataclass(frozen=True)
class Asked:
    """Somebody asked the holder for the instrument."""

    by: str
    text: str
    at: float  # Unix time, s


@dataclass(frozen=True)
class InHand:
    """An instrument in somebody's hands."""

    instrument: str
    service_id: str  # of its execution
    by: str  # who has it
    since: float  # Unix time, s
    until: float  # Unix time, s: it is let go then
    is_own: bool  # it is the caller who has it
    panel: Panel | None = None  # what it can be asked, set to and told; None: it is being opened
    identity: str = ""  # what it said of itself
    # by name: what was read ("value", "unit", "at" in Unix time, s), or why it could not be ("why")
    readings: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: tuple[Asked, ...] = ()  # who would like to have it, oldest first


@dataclass(frozen=True)
class Done:
    """What came of setting or doing something."""

    done: bool  # False: it goes on
    read: dict[str, Any] | None = None  # of a control, what it says since


@dataclass(frozen=True)
class Standing:
    """How an instrument stands."""

    words: str  # free, unsafe, in the hands of Ada
    free: bool  # nobody has it, and it was read back safe
    busy: bool  # somebody has it, or it is about to be told whether it is safe


class DirectControl:
    """The verbs over instruments in somebody's hands. Each answers within `wait` s, whatever a line does."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._instruments = Instruments(settings)
        self._records = LocalStore(settings)
        self._leases, self._upkeep = Leases(settings.jobs_folder), Upkeep(settings.layout)
        self._acts = Acts(settings)

    # -- taking and letting go ----------------------------------------------------------------

    def take(self, name: str, caller: Caller, seconds: float = 3600.0, wait: float = WAIT) -> InHand:
        """Take a free instrument in hand, or one that the caller has reserved, or that is out of service.

        It is the caller's for so long, as long as `look` is asked every few seconds; 15 s after the last time it is
        made safe and let go.

        Returns:
            How it stands after `wait` s: without a panel it is still being opened, and `look` tells more.

        Raises:
            UnknownInstrument: it isn't here.
            InstrumentInUse: somebody else has it, or it was stopped.
            JobFailed: it can't be opened; the message says why.
            InvalidParameter: `seconds` is out of the limits.
            Unavailable: the deployment is being stopped, or its disk is full.
        """
        permit(caller, Action.TAKE, name)
        lab = self._instruments.lab()
        self._instruments.entry(lab, name)
        service = direct_control.signature(seconds)
        who = caller.who[:WHO_MAX]
        values = {"instrument": name, "holder": who, "seconds": seconds}
        inputs = service.accept(values)
        twins = sorted(lab.twins(name), key=lambda twin: twin != name)
        for twin in twins:
            self._raise_if_not_free(name, twin, who)
        owner, service_id = caller.identity or Identity(), f"in-hand-{name}-{uuid.uuid4().hex}"
        request = Request(
            service_id=service_id,
            service=service.name,
            inputs=inputs,
            user=owner.user,
            created=time.time(),
            instruments=(name,),
            signature=service.as_data(),
            project=owner.project,
            authority=owner.authority,
            face=caller.face,
        )
        about = {"instrument": name, "serviceID": service_id, "seconds": seconds}
        claimed, job = False, folder_name(service_id)
        tell = self._records.admit(request)
        try:
            self._acts.begin("take in hand", caller, about, durable=True)
            claimed = self._records.claim(job, request)
        finally:
            tell(claimed)
        self._records.folder.polled(job)
        self._acts.tell("take in hand", caller, about)
        return self._opened(name, job, request, twins, caller, wait)

    def _raise_if_not_free(self, name: str, twin: str, who: str) -> None:
        if (out := self._upkeep.out_of(twin)) is not None and out.stopped:
            raise InstrumentInUse(
                f"{name} can't be taken: {'it' if twin == name else f'{twin}, the same device,'} is {out.words}; an"
                " operator puts it back into service."
            )
        lease = self._leases.of(twin)
        if lease is None or (lease.how is Held.RESERVED and lease.why == who and twin == name):
            return
        words = self._instruments.held(lease).words
        raise InstrumentInUse(
            f"{name} can't be taken: {'it' if twin == name else f'{twin}, the same device,'} is {words}."
        )

    def _opened(self, name: str, job: str, request: Request, twins: list[str], caller: Caller, wait: float) -> InHand:
        """Wait until it is open. Raises InstrumentInUse: somebody was faster; JobFailed: it can't be opened."""
        deadline = time.monotonic() + wait
        panel = self._records.folder.path(job) / "data" / direct_control.PANEL
        while True:
            record = self._records.record(job)
            if not record.active:
                raise JobFailed(record.why or f"{name} was let go before it was open.")
            if record.state is State.QUEUED:
                rivals = [lease for twin in twins if (lease := self._leases.of(twin)) and lease.job != job]
                held = [lease for lease in rivals if lease.how is not Held.RESERVED]
                if held:
                    self._records.abort(record, wait=0.0, by=caller.in_words)
                    words = self._instruments.held(held[0]).words
                    raise InstrumentInUse(f"{name} can't be taken: somebody was faster; it is {words}.")
            left = deadline - time.monotonic()
            if panel.exists() or left <= 0:
                return self._told(name, job, request, record, caller)
            until(panel.parent, panel.exists, min(left, 0.5))
            self._records.folder.polled(job)

    def release(self, name: str, caller: Caller, wait: float = WAIT) -> bool:
        """Let it go: True once it was read back safe and is free, False where that goes on.

        Raises:
            NotInHand: nobody has it in hand.
            NotPermitted: somebody else has it, and the caller is no administrator.
        """
        job, request = self._in_hand(name)
        if not self._is_holder(request, caller):
            permit(caller, Action.RELEASE_ANOTHERS, name)
        about = {"instrument": name, "serviceID": request.service_id}
        self._acts.go_on("let go", caller, about, durable=True)
        gone = self._records.abort(self._records.record(job), wait, caller.in_words)
        self._acts.tell("let go", caller, about | {"gone": gone})
        return gone

    # -- looking ------------------------------------------------------------------------------

    def look(self, name: str, caller: Caller) -> InHand:
        """How it stands, and what was read last. Asked by who has it, this is what keeps it theirs.

        Raises:
            NotInHand: nobody has it in hand.
        """
        permit(caller, Action.LIST_INSTRUMENTS, name)
        job, request = self._in_hand(name)
        if self._is_holder(request, caller):
            self._records.folder.polled(job)
        return self._told(name, job, request, self._records.record(job), caller)

    def why_ended(self, name: str, service_id: str) -> str:
        """Why an instrument is no longer in somebody's hands, in a sentence; "" while it is."""
        record = self._records.record(folder_name(service_id))
        return "" if record.active else record.why or N_("Its time is over.")

    def standing(self, name: str, caller: Caller) -> Standing:
        """How an instrument stands."""
        permit(caller, Action.LIST_INSTRUMENTS, name)
        lease, out = self._leases.all().get(name), self._upkeep.out().get(name)
        words = [self._instruments.held(lease).words] if lease is not None else []
        return Standing(
            ", ".join([*words, *([out.words] if out is not None else [])]) or "free",
            free=lease is None,
            busy=lease is not None and lease.how in (Held.BY_JOB, Held.MAKING_SAFE),
        )

    def _told(self, name: str, job: str, request: Request, record: Record, caller: Caller) -> InHand:
        said, read = self._said(job, direct_control.PANEL), self._said(job, direct_control.READINGS)
        panel: Panel | None = None
        asked: tuple[Asked, ...] = ()
        with contextlib.suppress(KeyError, TypeError, ValueError):
            panel = panel_of(said["panel"])
        with contextlib.suppress(KeyError, TypeError, ValueError):
            asked = tuple(Asked(one["by"], one["text"], one["at"]) for one in read["asked"])
        return InHand(
            instrument=name,
            service_id=request.service_id,
            by=str(request.inputs["holder"]),
            since=record.started or request.created,
            until=(record.started or request.created) + float(request.inputs["seconds"]),
            is_own=self._is_holder(request, caller),
            panel=panel,
            identity=str(said.get("identity", "")),
            readings=dict(read.get("readings", {})),
            asked=asked,
        )

    def _said(self, job: str, file: str) -> dict[str, Any]:
        """What the process on the line has written."""
        with contextlib.suppress(ValueError):
            said = json.loads(read_bounded(self._records.folder.path(job) / "data" / file, LARGEST) or b"{}")
            return said if isinstance(said, dict) else {}
        return {}

    # -- setting and doing --------------------------------------------------------------------

    def set(self, name: str, control: str, value: Any, caller: Caller, wait: float = WAIT) -> Done:
        """Set a control, a value or its text.

        Raises:
            NotInHand, InstrumentInUse: the caller doesn't have it.
            InvalidParameter, MissingParameter: it has no such control, or the value is out of its limits: nothing was
                sent to it.
            JobFailed: the instrument did not do it; the message says why.
        """
        job, request = self._own(name, caller)
        item = self._item(name, job, control, What.CONTROL)
        accepted = item.accept(name, {control: value})[control]
        about = {"instrument": name, "control": control, "value": text_of(accepted)}
        return self._order(job, request, "set", about, {"set": control, "value": accepted}, caller, wait)

    def do(self, name: str, action: str, inputs: dict[str, Any], caller: Caller, wait: float = WAIT) -> Done:
        """Have it do something. Raises as `set`."""
        job, request = self._own(name, caller)
        item = self._item(name, job, action, What.ACTION)
        accepted = item.accept(name, inputs)
        about = {"instrument": name, "action": action, "inputs": json.dumps(accepted)}
        return self._order(job, request, "do", about, {"do": action, "inputs": accepted}, caller, wait)

    def ask_for(self, name: str, text: str, caller: Caller) -> InHand:
        """Tell who has it that the caller would like to have it: whose it is.

        Raises:
            NotInHand: nobody has it in hand.
            InvalidParameter: the text is too long.
        """
        permit(caller, Action.TAKE, name)
        job, request = self._in_hand(name)
        text = bounded(text, TEXT_MAX)
        record = self._records.record(job)
        who = plain(caller.who, WHO_MAX)
        about = {"instrument": name, "text": text}
        self._acts.begin("ask for", caller, about)
        order = {"ask": who, "text": text}
        self._records.notify(record, json.dumps(order), 1.0, caller.in_words)
        self._acts.tell("ask for", caller, about)
        return self._told(name, job, request, record, caller)

    def _item(self, name: str, job: str, item: str, what: What) -> Item:
        try:
            panel = panel_of(self._said(job, direct_control.PANEL)["panel"])
        except (KeyError, TypeError, ValueError):
            raise Unavailable(f"{name} is still being opened; try again in a moment.") from None
        return panel.find(name, item, what)

    def _order(
        self,
        job: str,
        request: Request,
        act: str,
        about: dict[str, Any],
        order: dict[str, Any],
        caller: Caller,
        wait: float,
    ) -> Done:
        record = self._records.record(job)
        if not record.active:
            raise JobFailed(record.why)
        self._acts.begin(act, caller, about | {"serviceID": request.service_id})
        answer = self._records.notify(record, json.dumps(order), wait, caller.in_words)
        try:
            said = json.loads(answer)
        except ValueError:
            said = None
        if not isinstance(said, dict):  # its number: there was no reply in time
            ended = self._records.record(job)
            if not ended.active:
                raise JobFailed(ended.why)
            self._acts.tell(act, caller, about | {"done": False})
            return Done(False)
        self._acts.tell(act, caller, about | {"done": "why" not in said, "why": said.get("why", "")})
        if "why" in said:
            raise JobFailed(str(said["why"]))
        return Done(True, said.get("read"))

    # -- whose it is --------------------------------------------------------------------------

    def _own(self, name: str, caller: Caller) -> tuple[str, Request]:
        """The execution of an instrument that the caller has in hand, which is asked for by this."""
        permit(caller, Action.TAKE, name)
        job, request = self._in_hand(name)
        if not self._is_holder(request, caller):
            raise InstrumentInUse(
                f"{name} is in the hands of {plain(str(request.inputs['holder']), 60)}: ask for it, or wait."
            )
        self._records.folder.polled(job)
        return job, request

    def _in_hand(self, name: str) -> tuple[str, Request]:
        """The execution by which somebody has an instrument in hand. Raises NotInHand, UnknownInstrument."""
        lease = self._leases.all().get(name)
        if lease is not None and lease.how is Held.BY_JOB:
            request: Request | None = None
            with contextlib.suppress(ServiceError):
                request = self._records.request(lease.job)
            if request is not None and request.service == direct_control.NAME:
                stored = self._records.folder.stored_state(lease.job)
                if stored is None or stored.state not in ENDED:
                    return lease.job, request
        if lease is None:
            with contextlib.suppress(Misconfigured):  # what is in hand is so, whatever lab.toml says
                self._instruments.entry(self._instruments.lab(), name)
        words = self._instruments.held(lease).words if lease is not None else "free"
        raise NotInHand(f"{plain(name, 60)} is in nobody's hands, it is {words}: take it first.")

    def _is_holder(self, request: Request, caller: Caller) -> bool:
        """Whether it is the caller who has it: the same user, by the same authority."""
        identity = caller.identity
        if identity is None or not may(caller, Action.TAKE):
            return False
        return (request.authority, request.user) == (identity.authority, identity.user)
