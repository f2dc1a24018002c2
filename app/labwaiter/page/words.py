"""Numbers, times and states in the words of a status page."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from ..languages import ENGLISH, Language
from ..model.parameter import text_of
from ..model.record import Happening, Moment, Record, State, View
from ..model.service import Service
from ..model.values import SI

CUT = {
    "stage": 200,
    "inputs": 40,
    "input": 200,
    "values": 20,
    "messages": 10,
    "message": 300,
    "timeline": 40,
    "happened": 300,
    "made_by": 30,
    "log_lines": 25,
    "log_line": 400,
}
_CONTROLS = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")  # all but white space
_SURROGATES = re.compile("[\ud800-\udfff]")
_PREFIXES = ("y", "z", "a", "f", "p", "n", "µ", "m", "", "k", "M", "G", "T", "P", "E", "Z", "Y")  # each 1000 times more
_NONE = _PREFIXES.index("")
_ENOUGH = 0.02  # of the work: before, an estimate of the rest is a guess


def cut(text: str, most: int) -> str:
    """`text`, at most `most` characters of it; U+FFFD in the place of control characters, which no page may have."""
    text = text if len(text) <= most else text[: most - 1] + "…"
    return text if text.isprintable() else _CONTROLS.sub("\ufffd", text)


def shortened(text: str, most: int) -> str:
    """`text`, at most `most` characters of it: its beginning and its end, where addresses have their file's name."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[len(text) - (most - 1) // 2 :]}"


def printable(text: str) -> str:
    """A text as pages can carry it: what came from the system as bytes that are no UTF-8 has U+FFFD in their place."""
    try:
        text.encode()  # a tenth of a search's time, and nearly all texts are sound
        return text
    except UnicodeEncodeError:
        return _SURROGATES.sub("\ufffd", text)


def in_url(name: str) -> str:
    """A file's name as an address has it: its own bytes, percent-encoded, whatever encoding they are in."""
    try:
        return quote(name.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # no name of this machine's
        return quote(printable(name))


def named(value: Any) -> str:
    """A file's name as an answer carries it: one that is no text by its bytes, so that it names the file again."""
    text = text_of(value)
    return text if printable(text) == text else in_url(text)


def clock(unix_seconds: float, language: Language = ENGLISH) -> str:
    """A time of day in UTC, for a log's reader: 2026-11-24 11:30:05 UTC."""
    return language.clock(unix_seconds)


def told(sentence: str, language: Language) -> str:
    """A sentence of a record's in its reader's language, where it is one of ours; else as it is."""
    return language.told(sentence) or sentence


def number(value: Any, language: Language = ENGLISH) -> str:
    """A value as an operator reads it: six digits are enough."""
    _ = language.text
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, float):
        return language.number(f"{value:.6g}") if math.isfinite(value) else "—"
    return text_of(value)


def quantity(value: Any, unit: str, language: Language = ENGLISH) -> tuple[str, str]:
    """A value and its unit as an operator reads them, with a prefix where the plot has one: 0.000117 A are 117 µA."""
    if unit not in SI or isinstance(value, bool) or not isinstance(value, (int, float)):
        return number(value, language), unit
    if not value or not 1e-300 < abs(value) < 1e300:  # nothing, and what no number of a float's can be divided by
        return number(value, language), unit
    place = max(0, min(len(_PREFIXES) - 1, math.floor(math.log10(abs(value)) / 3) + _NONE))
    for at in (place, min(place + 1, len(_PREFIXES) - 1)):
        shown = f"{value / 1000.0 ** (at - _NONE):.6g}"
        if abs(float(shown)) < 1000:  # 999.9999 mA are 1 A
            break
    return language.number(shown), _PREFIXES[at] + unit


def inputs_of(view: View, service: Service, language: Language = ENGLISH) -> list[tuple[str, str, str]]:
    """What it was started with: name, value and unit; not what was left empty."""
    units = {parameter.name: parameter.unit for parameter in service.inputs}
    rows = []
    for name, value in view.record.request.inputs.items():
        words, unit = quantity(value, units.get(name, ""), language)
        if value is not None and (line := " ".join(printable(words).split())):
            rows.append((cut(name, 80), shortened(line, CUT["input"]), cut(unit, 20)))
    return rows[: CUT["inputs"]]


def waits_for(view: View, language: Language = ENGLISH) -> str:
    """What keeps a queued execution from beginning: who has what it needs, and for how long."""
    _ = language.text
    sentences = []
    for holder in view.holders:
        words = told(holder.words, language)
        if holder.until is not None:
            span = language.span(int(holder.until - view.now))
            words = _("%(what)s for %(span)s more", what=words, span=span)
        elif holder.since is not None:
            words = _("%(what)s, for %(span)s now", what=words, span=language.span(int(view.now - holder.since)))
        sentences.append(words)
    return "; ".join([*sentences, *([told(view.ahead, language)] if view.ahead else [])])


def estimate(record: Record, fraction: float | None, seconds: float, language: Language = ENGLISH) -> str:
    """What remains, if the work goes on as it went; "" where that can't be said.

    Args:
        seconds: for how long it has been running.
    """
    if record.state is not State.RUNNING or record.stopping or record.started is None:
        return ""
    if fraction is None or not _ENOUGH <= fraction < 1:
        return ""
    elapsed = int(seconds)
    return language.span(int(elapsed * (1 - fraction) / fraction)) if elapsed else ""


def ran(record: Record, moment: Moment) -> float:
    """For how long an execution has run, in s. A wall clock that is set changes nothing while it runs."""
    if moment.ran is not None:
        return moment.ran
    return 0.0 if record.started is None else max(0.0, (record.ended or moment.now) - record.started)


def whole_percent(fraction: float) -> int:
    """How much is done, in whole percent: 100 only at the end. 0.58 are 58, though 100 * 0.58 is a little less."""
    return math.floor(100 * fraction + 1e-9)


def headline(record: Record, place: int | None, percent: int | None, language: Language = ENGLISH) -> str:
    """The state in plain words.

    Args:
        place: in the queue.
    """
    _ = language.text
    if record.stopping:
        return _("Being stopped")
    if record.state is State.QUEUED:
        return _("Waiting") if place is None else _("Waiting at place %(place)s", place=place)
    if record.state is State.RUNNING:
        return _("Running") if percent is None else f"{percent} %"
    return {State.COMPLETED: _("Completed"), State.FAILED: _("Failed"), State.ABORTED: _("Aborted")}[record.state]


def happened(happening: Happening, language: Language = ENGLISH) -> str:
    """An event of a timeline in plain words. Not bounded beyond what its texts are, not escaped."""
    _ = language.text
    about = {name: text_of(value) for name, value in happening.about.items()}
    by = about.get("by", "").removeprefix("by ")
    name, why = about.get("instrument") or _("An instrument"), told(about.get("why", ""), language)
    match happening.event:
        case "queued":
            return _("asked for by %(by)s", by=by) if by else _("asked for")
        case "began":
            return _("began")
        case "stage":
            return about.get("stage", "")
        case "message":
            number = about.get("number", "")
            return _("message %(n)s by %(by)s", n=number, by=by) if by else _("message %(n)s", n=number)
        case "reply":
            return _("reply to message %(n)s", n=about.get("number", ""))
        case "abort asked for":
            return _("abort asked for by %(by)s", by=by) if by else _("abort asked for")
        case "told to stop":
            return _("told to stop: %(why)s", why=why)
        case "killed":
            return _("ended, for it did not stop by itself")
        case "imported":
            return _("%(file)s imported as it is by then", file=about.get("file", ""))
        case "program":
            return _("program %(name)s", name=about.get("name", ""))
        case "opened":
            identity = about.get("identity", "")
            if identity:
                return _("%(name)s opened: %(identity)s", name=name, identity=identity)
            return _("%(name)s opened", name=name)
        case "made safe":
            return _("%(name)s is safe: %(why)s", name=name, why=why)
        case "unsafe":
            return _("%(name)s is UNSAFE: %(why)s", name=name, why=why)
        case "disposed":
            return why or _("on_dispose has ended after %(time)s", time=language.span(float(about.get("took") or 0)))
        case "ended":
            states = {"completed": _("completed"), "failed": _("failed"), "aborted": _("aborted")}
            state = states.get(about.get("state", ""), about.get("state", ""))
            return f"{state}: {why}" if why else state
    return happening.event


def made_by(timeline: Sequence[Happening], language: Language = ENGLISH) -> list[tuple[str, str]]:
    """What an execution was made by, a row each: what it is, and which version or hash."""
    _, rows = language.text, list[tuple[str, str]]()
    for happening in timeline:
        about = {name: text_of(value) for name, value in happening.about.items()}
        if happening.event == "began":
            rows += [(name, about[name]) for name in ("labwaiter", "python") if name in about]
        if happening.event in ("began", "imported") and "file" in about:
            rows.append((about["file"], f"SHA-256 {about.get('sha256') or _('not known')}"))
        elif happening.event == "program":
            rows.append((about.get("name", ""), f"SHA-256 {about.get('sha256') or _('not known')}"))
        elif happening.event == "opened":
            rows.append((about.get("instrument", ""), about.get("identity") or _("its driver does not ask who it is")))
    return rows


def last_lines(log: str) -> str:
    """The end of a log, bounded in lines and in their length."""
    lines = log.rstrip().splitlines()[-CUT["log_lines"] :]
    return "\n".join(cut(line, CUT["log_line"]) for line in lines)
