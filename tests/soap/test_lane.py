"""The poll's lane gives Spyne's bytes, only sooner."""

import pytest

from callers import Caller
from labwaiter.soap.binding import Binding
from labwaiter.soap.lane import Lane
from labwaiter.soap.operations import STATUS, Operations

NASTY = [
    "",
    "plain",
    "é 漢字 😀",
    "<&>\"'",
    "a\r\nb\tc",
    "]]>",
    "\x00\x0b\ufffe",
    "\x85\xa0\u2028",
    " ends with blanks  ",
]


@pytest.mark.parametrize("text", NASTY)
def test_the_lane_s_bytes_are_spyne_s(caller: Caller, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    service = caller.lab.services["Echo"]
    outputs = ["COMPLETED", text, "-3", "1e-07", "true", "green"]
    monkeypatch.setattr(Operations, "call", lambda *_: outputs)
    operations = Operations(service, caller.lab.jobs)
    texts = {"serviceID": "a", "sessionToken": "b"}
    assert Lane(service, operations).answer(texts) == Binding(service, operations.call).answer(STATUS, texts)
