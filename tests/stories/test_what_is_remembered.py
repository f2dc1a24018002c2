"""What is remembered: who did what (the audit), what an execution went through and was made by, and the log of it."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import labwaiter
from fleetlab import way
from lab import Lab, eventually
from labwaiter import Client
from labwaiter.errors import InvalidParameter, Unavailable
from labwaiter.model.caller import SHELL, Caller, Identity
from labwaiter.page import render
from labwaiter.store import timeline
from labwaiter.store.audit import Audit
from labwaiter.verbs.acts import account

ADA = Caller(Identity("ada", "optics"), token="a secret of hers", address="192.0.2.7", face="soap")


def _acts(lab: Lab) -> list[dict[str, object]]:
    return list(Audit(lab.settings.layout).entries())


def _events(lab: Lab, service_id: str) -> list[str]:
    return [told.event for told in lab.jobs.timeline(service_id, SHELL)]


def test_an_execution_says_what_it_has_been_through(lab: Lab) -> None:
    lab.jobs.start(lab.services["Talk"], "talk", {}, ADA)
    lab.when("talk", lambda: lab.status_progress("talk").stage == "listening")
    assert lab.jobs.notify(None, "talk", "bye", ADA, 60) == "you said bye"
    lab.ended("talk")
    eventually(lambda: "ended" in _events(lab, "talk"))
    told = lab.jobs.timeline("talk", SHELL)
    assert [h.event for h in told] == ["queued", "began", "stage", "message", "reply", "ended"]
    times = [h.at for h in told]
    assert times == sorted(times) and abs(times[0] - lab.record("talk").request.created) < 0.01
    assert told[0].about == {"by": "ada (optics), by soap"}
    assert told[3].about == {"number": 1, "by": "ada (optics), by soap"}
    assert told[2].about == {"stage": "listening"}
    assert told[5].about == {"state": "completed"}


def test_an_aborted_one_says_who_wanted_that_and_its_page_shows_it(lab: Lab) -> None:
    lab.jobs.start(lab.services["Steps"], "steps", {"count": 1000, "step": 1}, ADA)
    lab.when("steps", lambda: "stage" in _events(lab, "steps"))
    assert lab.jobs.abort(None, "steps", ADA, 60)
    lab.ended("steps")
    eventually(lambda: "ended" in _events(lab, "steps"))
    told = {h.event: h.about for h in lab.jobs.timeline("steps", SHELL)}
    assert told["abort asked for"] == {"by": "ada (optics), by soap"}
    assert told["told to stop"]["reason"] == "abort"
    assert told["ended"] == {"state": "aborted", "why": "The execution was aborted."}
    lab.caught_up("steps")
    page = render(lab.jobs.view("steps", SHELL), lab.services["Steps"])
    assert "abort asked for by ada (optics), by soap" in page
    assert "<dt>labwaiter</dt>" in page


def test_a_running_one_s_page_is_as_it_was(lab: Lab) -> None:
    lab.start("Steps", "steps", count=1000, step=1)
    lab.when("steps", lambda: "stage" in _events(lab, "steps"))
    assert "What it has been through" not in render(lab.jobs.view("steps", SHELL), lab.services["Steps"])


def test_an_execution_is_known_by_what_it_was_made_by(lab: Lab, services: Path) -> None:
    lab.start("Echo", "echo", text="hello")
    lab.start("UnrulyScript", "script", word="exit")
    lab.start("Unruly", "program", word="exit")
    made = {}
    for service_id in ("echo", "script", "program"):
        lab.ended(service_id)
        lab.caught_up(service_id)
        made[service_id] = timeline.made_by(lab.jobs.timeline(service_id, SHELL))
    file = {"file": "services.py", "sha256": _digest(services / "services.py")}
    for one in made.values():
        assert one["versions"] == {"labwaiter": labwaiter.__version__, "python": sys.version.split()[0]}
        assert one["serviceFile"] == file
    assert "programs" not in made["echo"]
    assert made["script"]["programs"] == [{"name": "unruly.py", "sha256": _digest(services.parent / "unruly.py")}]
    (program,) = made["program"]["programs"]
    assert program["sha256"] == _digest(Path(sys.executable))


def test_a_service_file_that_was_edited_since_is_told_as_it_ran(lab: Lab, services: Path) -> None:
    lab.start("Echo", "before", text="hello")
    lab.ended("before")
    before = _digest(services / "services.py")
    with open(services / "services.py", "a") as file:
        file.write("\n# edited\n")
    lab.start("Echo", "after", text="hello")
    lab.ended("after")
    digests = []
    for service_id in ("before", "after"):
        lab.caught_up(service_id)
        digests.append(timeline.made_by(lab.jobs.timeline(service_id, SHELL))["serviceFile"]["sha256"])
    assert digests == [before, _digest(services / "services.py")]


@pytest.mark.folder_way
def test_what_a_job_writes_into_its_timeline_harms_nobody(lab: Lab) -> None:
    lab.start("Raises", "raises", how="sentence")
    lab.ended("raises")
    with open(lab.folder("raises") / timeline.FILE, "ab") as file:
        file.write(
            b'[]\n{"at":1e300,"event":"x"}\n{"at":"x"}\n\xff\n{"at":NaN,"event":"x"}\n{"event":"x"}\n' + b"[" * 9999
        )
        file.write(b'\n{"at":1,"event":"stage","stage":"<script>alert(1)</script>","more":{"a":1}}\nhalf')
    told = lab.jobs.timeline("raises", SHELL)
    assert told[0].about == {"stage": "<script>alert(1)</script>"}
    assert [h.event for h in told] == ["stage", "queued", "began", "ended"]
    page = render(lab.jobs.view("raises", SHELL), lab.services["Raises"])
    assert "<script>" not in page and "&lt;script&gt;alert" in page


@pytest.mark.folder_way
def test_one_of_a_release_without_a_timeline_is_shown_as_before(lab: Lab) -> None:
    lab.start("Raises", "raises", how="sentence")
    lab.ended("raises")
    (lab.folder("raises") / timeline.FILE).unlink()
    page = render(lab.jobs.view("raises", SHELL), lab.services["Raises"])
    assert "The oven&#39;s door is open." in page and "What it has been through" not in page
    assert lab.jobs.timeline("raises", SHELL) == ()


def test_a_message_that_was_not_kept_is_none_in_the_audit(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(MESSAGES_LIMIT="1000")
    lab.jobs.start(lab.services["Talk"], "talk", {}, ADA)  # nobody supervises: it waits
    with pytest.raises(InvalidParameter, match="messages"):
        lab.jobs.notify(None, "talk", "a" * 2000, ADA)
    told = [(act["event"], act.get("why", "")) for act in _acts(lab)]
    assert [event for event, _ in told] == ["start", "notify", "not notified"] and "messages" in str(told[2][1])


@pytest.mark.folder_way
def test_the_audit_says_who_did_what(lab: Lab) -> None:
    lab.jobs.start(lab.services["Talk"], "talk", {}, ADA)
    lab.running("talk")
    lab.jobs.notify(None, "talk", "a message of hers", ADA)
    lab.jobs.abort(None, "talk", SHELL, 60)
    lab.ended("talk")
    lab.jobs.remove("talk", SHELL)
    Client(lab.settings, "nils").start("Echo", "echo", text="hello").join(60)
    acts = _acts(lab)
    assert [(act["event"], act["serviceID"], act["face"]) for act in acts] == [
        ("start", "talk", "soap"),
        ("notify", "talk", "soap"),
        ("abort", "talk", "shell"),
        ("remove", "talk", "shell"),
        ("start", "echo", "python"),
    ]
    hers, theirs = acts[0], acts[4]
    assert (hers["user"], hers["project"], hers["role"], hers["address"]) == ("ada", "optics", "user", "192.0.2.7")
    assert "account" not in hers
    assert (theirs["user"], theirs["account"], theirs["service"]) == ("nils", account(), "Echo")
    assert Audit(lab.settings.layout).verify().fault == ""
    lab.close()
    for file in lab.root.rglob("*"):
        if file.is_file():
            text = file.read_bytes()
            assert ADA.token.encode() not in text, file
            assert b"a message of hers" not in text or file.name != "000000000001.jsonl"


@pytest.mark.skipif(way() is Lab, reason="about many machines")
def test_a_machine_s_own_audit_says_what_it_was_told_to_do_and_by_whom(lab: Lab) -> None:
    lab.jobs.start(lab.services["Talk"], "talk", {}, ADA)
    lab.when("talk", lambda: "stage" in _events(lab, "talk"))
    lab.jobs.notify(None, "talk", "hello", ADA, 30)
    lab.jobs.abort(None, "talk", ADA, 60)
    lab.ended("talk")
    acts = _acts(lab)
    assert [(act["event"], act["face"], act["by"]) for act in acts] == [
        ("start", "order", "soap"),
        ("notify", "machine call", "ada (optics), by soap"),
        ("abort", "machine call", "ada (optics), by soap"),
    ]
    assert (acts[0]["user"], acts[0]["project"]) == ("ada", "optics")
    at_the_face = list(Audit(lab.jobs.settings.layout).entries())
    assert [act["event"] for act in at_the_face] == ["start", "notify", "abort"]


@pytest.mark.folder_way
def test_what_retention_removes_is_in_the_audit(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(KEEP_DAYS=str(1 / 86400))
    lab.supervise()
    lab.start("Echo", "echo", text="hello")
    lab.ended("echo")
    eventually((lab.folder("echo") / "tombstone.json").exists)
    removed = [(act["serviceID"], act["face"]) for act in _acts(lab) if act["event"] == "remove"]
    assert removed == [("echo", "retention")]


@pytest.mark.folder_way
def test_the_same_start_again_is_no_second_act(lab: Lab) -> None:
    for _ in range(2):
        lab.start("Echo", "echo", text="hello")
    assert [act["event"] for act in _acts(lab)] == ["start"]


@pytest.mark.folder_way
def test_where_the_audit_cannot_be_written_nothing_begins_and_all_can_be_stopped(lab: Lab) -> None:
    lab.start("Steps", "steps", count=1000, step=1)
    lab.running("steps")
    audit = lab.settings.layout.audit
    audit.rename(audit.with_name("aside"))
    audit.touch()
    with pytest.raises(Unavailable, match="could not be remembered who did it"):
        lab.start("Echo", "echo", text="hello")
    assert not lab.folder("echo").exists()
    with pytest.raises(Unavailable, match="could not be remembered"):
        lab.jobs.notify(None, "steps", "hello", SHELL)
    assert lab.jobs.abort(None, "steps", SHELL, 60)
    audit.unlink()
    audit.with_name("aside").rename(audit)
    lab.start("Echo", "echo", text="hello")
    assert [(act["event"], act.get("missing_before")) for act in _acts(lab)] == [("start", None), ("start", 1)]


@pytest.mark.folder_way
def test_the_log_has_a_line_for_each_step_that_programs_can_read(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(LOG_FORMAT="json")
    lab.supervise()
    lab.jobs.start(lab.services["Raises"], "raises\nforged", {"how": "sentence"}, ADA)
    lab.ended("raises\nforged")
    log = lab.root.parent / f"{lab.root.name}.supervisor.log"
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    told = [entry for entry in entries if entry.get("serviceID") == "raises\nforged"]
    assert [entry["event"] for entry in told] == ["begun", "ended"]
    for entry in told:
        assert (entry["service"], entry["user"], entry["project"], entry["face"]) == ("Raises", "ada", "optics", "soap")
    assert (told[1]["state"], told[1]["why"]) == ("failed", "The oven's door is open.")
    assert told[0]["waited"] >= 0 and told[1]["seconds"] >= 0


@pytest.mark.folder_way
def test_what_is_removed_takes_its_timeline_with_it(lab: Lab) -> None:
    lab.start("Echo", "echo", text="hello")
    lab.ended("echo")
    lab.jobs.remove("echo", SHELL)
    assert {path.name for path in lab.folder("echo").iterdir()} == {"tombstone.json"}


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
