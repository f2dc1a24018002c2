"""What a verb is told of whoever called by SOAP, and what a caller hears who may not do that."""

from __future__ import annotations

import pytest

from callers import NS, Caller, envelope
from labwaiter.model import caller as model
from labwaiter.model.record import Record
from labwaiter.verbs import permission
from labwaiter.verbs.permission import Action

OPERATIONS = [
    ("startTalk", Action.START),
    ("getServiceStatus", Action.SEE),
    ("getServiceStatus", Action.SEE),  # in the form of the one before it: by the lane, once that was answered
    ("notifyService", Action.NOTIFY),
    ("abortService", Action.ABORT),
]


def test_every_operation_is_permitted_to_its_caller_alone(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[model.Caller, Action]] = []
    refused: set[str] = set()

    def may(who: model.Caller, action: Action, target: Record | str) -> bool:
        asked.append((who, action))
        return who.token not in refused

    monkeypatch.setattr(permission, "may", may)
    for token in ("Ada's", "Bob's"):
        for operation, action in OPERATIONS:
            more = {"message": "hello"} if operation == "notifyService" else {}
            body = envelope(operation, ns=NS, serviceID="one", sessionToken=token, **more)
            reply = caller("/Talk", body, REMOTE_ADDR="192.0.2.7")
            told = model.Caller(
                token=token, address="192.0.2.7", public_url=f"http://lab.example:8080{caller.root}", polls=True
            )
            assert asked.pop() == (told, action)
            assert (reply.status == "200 OK") is (token not in refused)
            if token in refused:
                assert reply["errorCode"] == "NotPermitted" and f"may not {action} here" in reply["description"]
        refused.add("Bob's")
