"""The status page: a record's view becomes a self-contained HTML document.

The same view gives the same page: that the pieces of the last ones are kept changes only the time that it takes.

No outside resource, and no script but that of its buttons (`buttons.py`), so that it lives inside any portal's
frame; everything that came from outside is escaped and bounded. A program's own status.html is the one exception: it
is the program's page, and is shown as it is, but for the function `notify_running_job` in its head.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
from dataclasses import replace
from functools import cache, lru_cache
from importlib import resources
from typing import Any, NamedTuple

from markupsafe import escape

from ..languages import ENGLISH, Language, asked_for
from ..model.contract import extra_parameters
from ..model.record import PLOT, Moment, Record, Request, State, View
from ..model.service import Service
from . import buttons as buttons_of_pages
from .buttons import Buttons
from .words import (
    CUT,
    cut,
    estimate,
    happened,
    headline,
    in_url,
    inputs_of,
    last_lines,
    made_by,
    printable,
    quantity,
    ran,
    told,
    waits_for,
    whole_percent,
)

OWN_LARGEST = 1_400_000  # characters of a program's own page: in base64 still below 2 MB
PICTURE_LARGEST = 1_000_000  # bytes
_KINDS = {".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
_TONES = {
    State.QUEUED: "waits",
    State.RUNNING: "runs",
    State.COMPLETED: "good",
    State.FAILED: "bad",
    State.ABORTED: "ended",
}


_HOLE = os.urandom(12).hex()  # no text from outside has it
KEPT_LARGEST = 4000  # characters of a log, bytes of a picture: pages with more are made whole each time
PIECES_KEPT = 2000  # some 2 kB each
FRONT_LARGEST = 9000  # bytes of the beginning of a page that is kept in base64
OF_THE_MOMENT = ("headline", "percent", "elapsed", "remaining", "at")  # words
Pieces = list[str]  # a page's text up to the first of the words that move, its name, the text up to the next one, …
LANGUAGE = "language"  # of extraParameters: in which an execution's status page is to be
# by execution and by which words there are: what the pieces of such a page were made of last, and they
_pieces: dict[tuple[str, tuple[str, ...]], tuple[tuple[object, ...], Pieces]] = {}


@cache
def _style(has_buttons: bool) -> str:
    if has_buttons:
        return _style(False) + buttons_of_pages.style()
    return resources.files("labwaiter.page").joinpath("status.css").read_text("utf-8")


@cache
def _template(language: Language, name: str = "status.html.j2") -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("labwaiter", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        language.text_of, language.text_of_count, newstyle=True
    )
    return environment.get_template(name)


def language_of(request: Request, otherwise: str) -> Language:
    """The language of an execution's status page: what its start asked for in extraParameters (language=de).

    Args:
        otherwise: the deployment's, by its code.
    """
    if request.extra_parameters is None:
        return asked_for(None, otherwise)
    return asked_for(extra_parameters(request.extra_parameters).get(LANGUAGE), otherwise)


def render(
    view: View,
    service: Service,
    files_at: str = "",
    language: Language = ENGLISH,
    buttons: Buttons | None = None,
    said: str = "",
) -> str:
    """The page of one execution: a whole HTML document, below 1.5 million characters.

    Args:
        files_at: the address below which the files that it made are reachable; "": it isn't known.
        buttons: by what it steers the execution; None: it doesn't.
        said: what came of a button that was pressed, in a sentence.
    """
    return Page(view, service, files_at, language, buttons, said).text


def small_page(title: str, words: str, language: Language = ENGLISH) -> str:
    """A page of a sentence, that answers a button where there is no status page to show."""
    text: str = _template(language, "small.html.j2").render(
        title=title, words=words, style=_style(False), lang=language.code
    )
    return text


class Page:
    """The page of one execution, as `render` makes it."""

    text: str

    def __init__(
        self,
        view: View,
        service: Service,
        files_at: str = "",
        language: Language = ENGLISH,
        buttons: Buttons | None = None,
        said: str = "",
    ) -> None:
        self.view, self.language, self._for = view, language, (service, files_at, language, buttons, said)
        self.has_buttons = buttons is not None
        self._words: dict[str, str] = {}
        self._pieces: Pieces | None = None
        pressed = buttons_of_pages.shown(view, service, buttons)
        if view.own_page is not None and view.record.active and _is_bounded(view.own_page):
            self.text = _whole(view.own_page, service)  # in whatever language its program speaks
            if buttons is not None:
                form = _template(language, "buttons.html.j2").render(b=pressed) if pressed else ""
                self.text = buttons_of_pages.with_function(self.text, buttons, form)
            self._pieces = [self.text]
            return
        moving, log = _moving(view, language, pressed is not None or bool(said)), last_lines(view.log)
        if len(log) + len(view.picture or "") + len(view.own_page or "") > KEPT_LARGEST:
            still = _still(view, service, files_at, log, language, pressed, said)
            self.text = _template(language).render(still | moving)
            return
        self._words = {
            name: word if name in ("style", "script") else str(escape(word))
            for name, word in moving.items()
            if word not in ("", None)
        }
        # its values by their repr: 1, 1.0 and True are equal, and are told otherwise
        progress = vars(view.progress) | {"fraction": None, "stage": "", "values": repr(view.progress.values)}
        still = vars(view) | {"now": 0.0, "ran": None, "holders": (), "ahead": "", "log": log, "progress": progress}
        made_of = still, service, files_at, language, pressed, said
        key = view.record.name, tuple(self._words)
        kept = _pieces.pop(key, None)
        if kept is None or kept[0] != made_of:
            holes = {name: f"{_HOLE}{name}{_HOLE}" for name in self._words}
            words = _still(view, service, files_at, log, language, pressed, said) | moving | holes
            page = _template(language).render(words)
            kept = made_of, re.split(f"{_HOLE}([a-z]+){_HOLE}", page)
        _pieces[key] = kept  # at the end
        if len(_pieces) > PIECES_KEPT:
            with contextlib.suppress(KeyError, RuntimeError, StopIteration):  # another thread was here
                del _pieces[next(iter(_pieces))]
        self._pieces = kept[1]
        self.text = "".join([self._words[piece] if at % 2 else piece for at, piece in enumerate(kept[1])])

    def template(self) -> PageTemplate | None:
        """It, but for the words of its moment; None where it is to be made whole each time."""
        return None if self.is_whole else PageTemplate(self)

    @property
    def is_whole(self) -> bool:
        """Whether it was made whole: it is long."""
        return self._pieces is None

    def at(self, moment: Moment) -> Page:
        """It at another moment."""
        progress = replace(self.view.progress, fraction=moment.fraction)
        return Page(replace(self.view, now=moment.now, ran=moment.ran, progress=progress), *self._for)

    def cut(self) -> tuple[list[str], list[str]]:
        """Its texts between the words of its moment, and the names of these, one fewer."""
        texts, names = [""], []
        for at, piece in enumerate(self._pieces or ()):
            if at % 2 and piece in OF_THE_MOMENT:
                names.append(piece)
                texts.append("")
            else:
                texts[-1] += self._words[piece] if at % 2 else piece
        return texts, names


class PageTemplate:
    """A page of which nothing moves but its moment: put into base64 in microseconds."""

    def __init__(self, page: Page) -> None:
        self._page, self._record, self._place = page, page.view.record, page.view.place
        self._language = page.language
        self._forms: dict[tuple[str, ...], _Form] = {}  # by the words that there are: what remains isn't always known
        self.size = sum(map(len, page.cut()[0][1:])) + len(page.view.log)  # bytes that it has for itself, roughly

    def at(self, moment: Moment) -> bytes | None:
        """The page at another moment, in base64; None where that is to be made whole."""
        words = _of_the_moment(self._record, self._place, moment, self._language)
        there = tuple([name for name, word in words.items() if word not in ("", None)])
        form = self._forms.get(there)
        if form is None:
            page = self._page.at(moment)
            if page.is_whole:
                return None
            form = self._forms[there] = _Form.of(page)
        parts = [form.first]
        for name, text in zip(form.names, form.texts, strict=True):
            parts += (str(words[name]).encode(), text)
        return form.front + base64.b64encode(b"".join(parts))


class _Form(NamedTuple):
    """A page but for certain words."""

    front: bytes  # as much of its beginning as is whole in base64: three bytes are four characters
    first: bytes  # the rest of the text up to the first of the words
    names: list[str]  # of the words
    texts: list[bytes]  # after each

    @classmethod
    def of(cls, page: Page) -> _Form:
        texts, names = page.cut()
        first, *others = [printable(text).encode() for text in texts]
        whole = min(len(first), FRONT_LARGEST) // 3 * 3
        return cls(_front(first[:whole]), first[whole:], names, others)


@lru_cache(100)  # pages of one service, in the same state, begin alike
def _front(text: bytes) -> bytes:
    return base64.b64encode(text)


def _of_the_moment(record: Record, place: int | None, moment: Moment, language: Language) -> dict[str, Any]:
    """The words that move by themselves. None has a letter that HTML escapes."""
    percent = None if moment.fraction is None else whole_percent(moment.fraction)
    seconds = ran(record, moment)
    return {
        "headline": headline(record, place, percent, language),
        "percent": percent,
        "elapsed": "" if record.started is None else language.span(int(seconds)),  # whole seconds: see soap/lane.py
        "remaining": estimate(record, moment.fraction, seconds, language),
        "at": language.clock(moment.now),
    }


def _moving(view: View, language: Language, has_buttons: bool) -> dict[str, Any]:
    """The words that move with the clock, the work and the queue (and style and script: once in memory is enough)."""
    return _of_the_moment(view.record, view.place, view.moment, language) | {
        "stage": cut(view.progress.stage, CUT["stage"]),
        "ahead": cut(waits_for(view, language), 500),
        "style": _style(has_buttons),
        "script": buttons_of_pages.script() if has_buttons else "",
    }


def _still(
    view: View,
    service: Service,
    files_at: str,
    log: str,
    language: Language,
    pressed: dict[str, Any] | None,
    said: str,
) -> dict[str, Any]:
    """All other words: they are the same for as long as what they are made of is."""
    _, record, progress = language.text, view.record, view.progress
    picture, left_out = _picture(view, language)
    states = {
        State.QUEUED: _("waiting"),
        State.RUNNING: _("running"),
        State.COMPLETED: _("completed"),
        State.FAILED: _("failed"),
        State.ABORTED: _("aborted"),
    }
    stages = {
        "told to stop": _("It was told to stop and is winding up."),
        "killed": _("It did not stop by itself and was ended; what it left is cleared up."),
    }
    is_too_large = view.own_page is not None and record.active
    return {
        "lang": language.code,
        "title": f"{service.name}: {states[record.state]}",
        "buttons": pressed,
        "said": cut(printable(said), 1000),
        "name": service.name,
        "doc": cut(service.doc.partition("\n")[0], 200),
        "tone": "stops" if record.stopping else _TONES[record.state],
        "why": cut(told(record.stopping.why if record.stopping else record.why, language), 1000),
        "advice": _advice(record.state, language),
        "running": record.state is State.RUNNING,
        "stopping": stages.get(record.stopping.stage, "") if record.stopping else "",
        "silence": _silence(view, language),
        "hardware": tuple(cut(told(sentence, language), 500) for sentence in view.hardware),
        "abort_asked": record.abort_asked and record.active and not record.stopping,
        "limit": language.span(view.limit) if view.limit and record.state is State.RUNNING else "",
        "place": view.place,
        "values": tuple(
            (cut(name, 40), cut(words, 60), cut(unit, 20))
            for name, value in list(progress.values.items())[: CUT["values"]]
            for words, unit in [quantity(value, progress.units.get(name, ""), language)]
        ),
        "inputs": tuple(inputs_of(view, service, language)),
        "picture": picture,
        "plot": progress.picture is not None and progress.picture.file == PLOT,
        "caption": cut(progress.picture.caption, 200) if progress.picture else "",
        "left_out": left_out,
        "note": _("The program's own page is larger than %(most)s bytes and is not shown.", most=OWN_LARGEST)
        if is_too_large
        else "",
        "distance": cut(told(view.note, language), 300),
        "messages": tuple(_messages(view)),
        "message_count": view.message_count,
        "outputs": tuple(_outputs(view, service, language)),
        "files": tuple(
            (f"{files_at}{in_url(name)}", cut(printable(name), 80), language.size(count))
            for name, count in view.files
            if files_at
        ),
        "files_at": files_at,
        "timeline": tuple(_timeline(view, language)),
        "made_by": tuple(
            (cut(printable(name), 80), cut(printable(words), 200))
            for name, words in (made_by(view.timeline, language) if not record.active else [])[: CUT["made_by"]]
        ),
        "waits": record.state is State.QUEUED and not view.note,
        "log": log,
        "log_open": record.state is State.FAILED,
        "service_id": cut(record.request.service_id, 120),
        "began": language.clock(record.started) if record.started else "",
    }


def _is_bounded(own_page: str) -> bool:
    return len(own_page.encode("utf-8", "replace")) <= OWN_LARGEST


def _outputs(view: View, service: Service, language: Language) -> list[tuple[str, str, str]]:
    units = {parameter.name: parameter.unit for parameter in service.outputs}
    outputs = list((view.record.outputs or {}).items())[:40]
    rows = [(name, *quantity(v, units.get(name, ""), language)) for name, v in outputs]
    return [(cut(name, 80), cut(words, 500), cut(unit, 20)) for name, words, unit in rows]


def _timeline(view: View, language: Language) -> list[tuple[str, str]]:
    """What it has been through, of one that has ended: its beginning and the last of it."""
    happenings = () if view.record.active else view.timeline
    words = [printable(" ".join(happened(h, language).split())) for h in happenings]
    rows = [(language.clock(h.at), cut(what, CUT["happened"])) for h, what in zip(happenings, words, strict=True)]
    if len(rows) > CUT["timeline"]:
        rows = [*rows[:5], ("…", ""), *rows[len(rows) - CUT["timeline"] + 6 :]]
    return rows


def _advice(state: State, language: Language) -> str:
    _ = language.text
    if state is State.FAILED:
        return _("The workflow ends with this error in a moment. What was done so far is kept.")
    if state is State.ABORTED:
        return _("The workflow ends in a moment. What was done so far is kept.")
    return ""


def _silence(view: View, language: Language) -> str:
    """The countdown to an abandonment."""
    if view.silence is None:
        return ""
    left = view.silence.most - view.silence.seconds
    _ = language.text
    return _(
        "The workflow manager has asked nothing for %(silent)s. If that goes on, this is aborted in %(left)s.",
        silent=language.span(int(view.silence.seconds)),
        left=language.span(int(max(0.0, left))),
    )


def _messages(view: View) -> list[tuple[int, str, str]]:
    first = view.message_count - len(view.messages) + 1
    shown = list(enumerate(view.messages, first))[-CUT["messages"] :]
    replies = view.progress.replies
    return [(n, cut(text, CUT["message"]), cut(replies.get(n, ""), CUT["message"])) for n, text in shown]


def _picture(view: View, language: Language) -> tuple[str, str]:
    """The picture as a data URI, or the word that stands in its place."""
    _, picture = language.text, view.progress.picture
    if picture is None or view.picture is None:
        return "", ""
    kind = next((kind for ending, kind in _KINDS.items() if picture.file.lower().endswith(ending)), None)
    if kind is None:
        return "", _("The picture is of a kind that is not shown here: use .svg, .png or .jpg.")
    if len(view.picture) > PICTURE_LARGEST:
        return "", _("The picture is larger than %(most)s bytes and is not shown.", most=PICTURE_LARGEST)
    return f"data:{kind};base64,{base64.b64encode(view.picture).decode()}", ""


def _whole(page: str, service: Service) -> str:
    """A program's own page; a mere fragment becomes a document."""
    if "<html" in page[:2000].lower():
        return page
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{service.name}</title>'
        f"<style>:root{{color-scheme:light dark}}</style></head><body>{page}</body></html>"
    )
