"""Every answer has Spyne's bytes, though Spyne writes each form only once."""

import pytest

from callers import Caller
from labwaiter.soap.binding import Answers

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
    "labwaiter-text-0-here",
]


@pytest.mark.parametrize("text", NASTY)
def test_the_bytes_of_every_answer_are_spyne_s(caller: Caller, text: str) -> None:
    service = caller.lab.services["Echo"]
    answers = Answers(service)
    outputs = {
        service.operation: ["UNCHANGED", text, "-3", "1e-07", "true", "green"],
        "getServiceStatus": ["COMPLETED", text, "-3", "1e-07", "true", "green"],
        "abortService": ["true"],
        "notifyService": [text],
    }
    assert list(outputs) == list(service.operations)
    for operation, texts in outputs.items():
        assert answers.envelope(operation, texts) == answers.written(operation, texts)
