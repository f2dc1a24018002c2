"""What a verb is told of whoever called by SOAP."""

from __future__ import annotations

from dataclasses import replace

import pytest

from callers import NS, Caller, envelope
from labwaiter.model import caller as model
from labwaiter.model.record import Request
from labwaiter.verbs import permission
from labwaiter.verbs.permission import Action

OPERATIONS = [
    ("startTalk", Action.START),
    ("getServiceStatus", Action.SEE),
    ("notifyService", Action.NOTIFY),
    ("abortService", Action.ABORT),
]


def test_every_operation_is_permitted_to_its_caller_alone(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[model.Caller, Action]] = []
    may = permission.may

    def noted(who: model.Caller, action: Action, target: Request | str = "") -> bool:
        asked.append((replace(who, is_elsewhere=False), action))
        return may(who, action, target)

    monkeypatch.setattr(permission, "may", noted)
    for token in ("Ada's", "Bob's"):
        for operation, action in OPERATIONS:
            more = {"message": "hello"} if operation == "notifyService" else {}
            body = envelope(operation, ns=NS, serviceID=token, sessionToken=token, **more)
            assert caller("/Talk", body, REMOTE_ADDR="192.0.2.7").status == "200 OK"
            url = f"http://lab.example:8080{caller.root}"
            told = model.Caller(model.EVERYBODY, token, "192.0.2.7", url, polls=True, face="soap")
            assert (told, action) in asked and {who for who, _ in asked} == {told}
            asked.clear()
