"""JSON that every parser reads, whatever is told in it; and what was answered before is not sent again."""

from __future__ import annotations

import hashlib
import json
import math
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from flask import Response, g, request

from ..model.caller import Identity
from ..model.parameter import text_of
from ..page.words import printable

# what XML can't carry (XML 1.0, section 2.2): no other face could name an execution or an input so
_UNTOLD = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
KEPT_SECONDS, KEPT_MAX = 0.5, 200  # answers
DEEPEST = 40  # of what is sent: its lists and objects in each other


def loaded(text: str | bytes) -> Any:
    """What a body says. Raises ValueError, with a sentence for who sent it where the parser's own doesn't help."""
    try:
        value = json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _judge(value, DEEPEST)
    return value


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON's: send the text INF, -INF or NaN")


def _judge(value: Any, deepest: int) -> None:
    if isinstance(value, str):
        if odd := _UNTOLD.search(value):
            raise ValueError(f"no text may hold the character U+{ord(odd[0]):04X}")
    elif isinstance(value, dict | list):
        if not deepest:
            raise ValueError("it is nested too deeply")
        for part in value:
            _judge(part, deepest - 1)
        for part in value.values() if isinstance(value, dict) else ():
            _judge(part, deepest - 1)


def dumped(value: Any, **how: Any) -> str:
    """A value as JSON: numbers that JSON hasn't are texts, as XML Schema writes them."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, **how)
        text.encode()
        return text
    except ValueError:
        return json.dumps(_told(value), ensure_ascii=False, allow_nan=False, **how)


def _told(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else text_of(value)
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(str(name)): _told(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_told(part) for part in value]
    return value


def tag(value: Any, *moving: str) -> str:
    """What changes whenever a value does, but for what moves by itself in it: a weak ETag.

    Args:
        moving: the names of that.
    """
    still = {name: part for name, part in value.items() if name not in moving}
    digest = hashlib.blake2b(dumped(still).encode(), digest_size=12).hexdigest()
    return f'W/"{digest}"'


def knows(etag: str) -> bool:
    """Whether the caller of this request has what has this ETag."""
    return request.if_none_match.contains_weak(etag.removeprefix("W/").strip('"'))


def answered(value: Any, status: int = 200, etag: str = "") -> Response:
    """A value; 304 without it where the caller has it."""
    return _answer(dumped(value), status, etag)


def _answer(body: str, status: int, etag: str) -> Response:
    if etag and knows(etag):
        return Response(status=304, headers={"ETag": etag})
    return Response(body, status, {"ETag": etag} if etag else None, content_type="application/json")


class KeptAnswers:
    """What was answered last to those who ask whether there is something new, as pages do each second. Thread-safe.

    A hundred pages that look at the same cost hardly more than one. Whoever has nothing yet is answered anew.
    """

    def __init__(self) -> None:
        self._answers: OrderedDict[object, tuple[float, str, str]] = OrderedDict()  # when made, monotonic s; body, ETag
        self._turn = threading.Lock()

    def of(self, identity: Identity | None, make: Callable[[], tuple[Any, str]]) -> Response:
        """The answer to this request, of KEPT_SECONDS ago at most.

        Args:
            identity: whom it is for.
            make: a value, and its ETag.
        """
        key, began = (identity, g.root, request.full_path), time.monotonic()
        made, body, etag = self._answers.get(key, (-math.inf, "", ""))
        if not request.if_none_match or began - made >= KEPT_SECONDS:
            value, etag = make()
            body = dumped(value)
            with self._turn:
                self._answers.pop(key, None)
                self._answers[key] = began, body, etag
                if len(self._answers) > KEPT_MAX:
                    self._answers.popitem(last=False)
        return _answer(body, 200, etag)

    def forget(self) -> None:
        """Something was changed by this worker: whoever did that shall see it."""
        with self._turn:
            self._answers.clear()
