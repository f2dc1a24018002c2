"""The buttons of a status page: messages that the service declares, and an abort; and `notify_running_job` for pages of
programs.

A portal shows a page in a frame that may allow scripts, forms, both or neither, and its origin is mostly none. So a
page has a plain form, whose buttons a script takes over where one may run, and it says in words what to send where
neither may. Both send to the page's own address, which takes what has the page's key.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from ..model.record import State, View
from ..model.service import Service, in_a_row

FUNCTION = "notify_running_job"  # that the platform puts into the head of a page
_QUOTED = r"(?>\"[^\"]*\"|'[^']*'|[^'\">])*+>"  # the rest of a tag
_BLANK = r"\s++|<!--.*?-->"
# all that may stand before a document's head, and what in it comes before anything that could call a function: the
# charset must stay among the first 1024 bytes
_HEAD = re.compile(
    rf"\ufeff?(?>{_BLANK}|<!(?!--)[^>]*>|<\?[^>]*>|<html(?=[\s>/]){_QUOTED})*+<head(?=[\s>/]){_QUOTED}"
    rf"(?>{_BLANK}|<(?:meta|base)(?=[\s>/]){_QUOTED}|<title(?=[\s>]){_QUOTED}.*?</title\s*>)*+",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True)
class Buttons:
    """By what a page steers its execution."""

    address: str  # to which forms and scripts send
    key: str  # that only this execution's pages have; it ends with the execution


def steers(view: View, service: Service) -> bool:
    """Whether a page has something to steer by: messages are declared, or it is the program's own and calls for it."""
    return bool(service.messages) or (view.own_page is not None and FUNCTION in view.own_page)


@cache
def script() -> str:
    """What takes the buttons over, and makes the function of what it is given (`null`: of the page's form)."""
    return resources.files("labwaiter.page").joinpath("buttons.js").read_text("ascii")


@cache
def style() -> str:
    """How they look."""
    return resources.files("labwaiter.page").joinpath("buttons.css").read_text("utf-8")


def shown(view: View, service: Service, buttons: Buttons | None) -> dict[str, Any] | None:
    """What `buttons.html.j2` needs; None where there is nothing to press."""
    record = view.record
    if buttons is None or not record.active or record.stopping or record.abort_asked:
        return None
    names = [name for name, _ in service.messages]
    return {
        "address": buttons.address,
        "key": buttons.key,
        # one that waits hears nothing yet
        "messages": service.messages if record.state is State.RUNNING else (),
        "all": in_a_row(names, "or") if names else "a message",
        "service": service.name,
        "service_id": record.request.service_id,
    }


def with_function(page: str, buttons: Buttons, form: str) -> str:
    """A program's own page with the function in its head, and at its end what is seen where no script may run.

    A document without a head stays as it is: the platform gives such a page no function either.

    Args:
        form: as `buttons.html.j2` makes it, markup; "": there is nothing to press.
    """
    head = _HEAD.match(page)
    if head is None:
        return page
    given = json.dumps({"address": buttons.address, "key": buttons.key})
    for letter in "<>&":
        given = given.replace(letter, f"\\u{ord(letter):04x}")
    function = script().replace("(null)", f"({given})", 1)
    page = f"{page[: head.end()]}<script>{function}</script>{page[head.end() :]}"
    return f"{page}<noscript>{form}</noscript>" if form else page
