"""The JSON face: what an engineer's program, an operator and strangers get of a real web side."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from api_client import Api, Said
from callers import Caller, Web, envelope
from lab import PATIENCE, SAMPLES, Lab, eventually
from labwaiter.authentication.token_file import TokenFile
from labwaiter.model.caller import SHELL, Role
from labwaiter.settings import load
from labwaiter.store.audit import Audit

EXTRA = '''
from pathlib import Path
from labwaiter import Job, Outputs, service

class Made(Outputs):
    file: Path
    number: float

@service("Makes", namespace="http://samples.example/")
def startMakes(job: Job, number: float = 1.0) -> Made:
    """Make a file with an odd name."""
    print("a line")
    (job.data / "odd ü%.txt").write_text("made")
    return Made(file=job.data / "odd ü%.txt", number=number)
'''
LAB_TOML = """
[instruments.smu]
driver = "labwaiter.instruments.drivers:SourceMeter"
port = "sim://smu"
[instruments.relays]
driver = "labwaiter.instruments.drivers:RelayBoard"
port = "sim://relays"
"""


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "tokens.json")


@pytest.fixture
def guarded(make_lab: Callable[..., Lab], tokens: TokenFile, services: Path, tmp_path: Path) -> Lab:
    """A lab where tokens of a file are asked for, with two simulated instruments."""
    (services / "extra.py").write_text(EXTRA)
    benches = (SAMPLES / "benches.py").read_text().replace('"Limited"', '"LimitedBench"')  # both have one
    (services / "benches.py").write_text(benches)
    (tmp_path / "lab.toml").write_text(LAB_TOML)
    lab = make_lab(
        TOKENS="file",
        TOKENS_FILE=str(tokens.file),
        LAB=str(tmp_path / "lab.toml"),
        SCHEDULE=str(tmp_path / "schedule.toml"),
    )
    lab.supervise()
    return lab


@pytest.fixture
def web(guarded: Lab) -> Iterator[Web]:
    one = Web(guarded)
    yield one
    one.close()


@pytest.fixture
def people(web: Web, tokens: TokenFile) -> Callable[..., Api]:
    """Somebody with a token."""

    def make(user: str, project: str = "optics", role: Role = Role.USER) -> Api:
        return Api(web, tokens.add(user, project, role, 600)[1])

    return make


def is_problem(said: Said, status: int, code: str) -> bool:
    """Whether it is one, in the form of them all."""
    assert said.status == status, said
    assert said.headers["content-type"] == "application/problem+json"
    assert said["status"] == status and said["type"] == f"urn:labwaiter:problem:{code}" and said["detail"]
    assert "Traceback" not in said["detail"] and "/tmp" not in said["detail"]
    return bool(said["code"] == code)


def test_an_engineer_finds_a_service_starts_it_waits_and_fetches_what_it_made(
    people: Callable[..., Api], guarded: Lab
) -> None:
    ada = people("ada")
    me = ada.get("/me")
    assert (me["user"], me["project"], me["role"]) == ("ada", "optics", "user") and "start executions" in me["may"]
    (makes,) = [service for service in ada.get("/services")["services"] if service["name"] == "Makes"]
    assert makes["doc"] == "Make a file with an odd name." and makes["wsdl"].endswith("/makes/Makes?wsdl")
    assert [(p["name"], p["kind"], p["default"]) for p in makes["inputs"]] == [("number", "float", 1.0)]
    started = ada.start("makes", number="INF")
    assert started.status == 202 and started["serviceID"].startswith("Makes-") and started["face"] == "json"
    at = started.headers["location"]
    assert at == started["href"]
    ended = ada.ended(started["name"])
    assert ended["state"] == "completed" and ended["outputs"]["number"] == "INF" and ended["ran"] > 0
    (file,) = ada.get(f"{at}/files")["files"]
    assert (file["name"], file["size"]) == ("odd ü%.txt", 4)
    fetched = ada.get(file["href"])
    assert fetched.body == b"made" and "sandbox" in fetched.headers["content-security-policy"]
    assert ada.get(f"{at}/outputs")["outputs"] == ended["outputs"]
    assert ada.get(f"{at}/log")["text"].strip() == "a line"
    timeline = ada.get(f"{at}/timeline")
    assert [told["event"] for told in timeline["timeline"]][0] == "queued" and timeline["madeBy"]["versions"]
    assert timeline["timeline"][0]["by"] == "ada (optics), by json"
    assert [one["serviceID"] for one in ada.get("/executions")["executions"]] == [started["serviceID"]]
    assert ada("DELETE", at).status == 204
    assert is_problem(ada.get(at), 404, "UnknownServiceID") and "removed" in ada.get(at)["detail"]
    acts = [(entry["event"], entry.get("face")) for entry in Audit(load(guarded.face_environment).layout).entries()]
    assert ("start", "json") in acts and ("remove", "json") in acts


def test_the_same_start_is_the_same_execution_by_json_and_by_soap(
    people: Callable[..., Api], guarded: Lab, tokens: TokenFile
) -> None:
    ada = people("ada")
    created = ada.start("Echo", "one", text="x")["created"]
    assert ada.start("Echo", "one", text="x", number=7)["created"] == created
    assert is_problem(ada.start("Echo", "one", text="y"), 409, "ServiceIDInUse")
    assert is_problem(ada.start("Talk", "one"), 409, "ServiceIDInUse")
    token = ada.headers["Authorization"].split()[1]
    caller = Caller(guarded)
    by_soap = caller("/Echo", envelope("startEcho", serviceID="one", sessionToken=token, text="x"))
    assert by_soap.status == "200 OK"
    ada.ended("one")
    polled = caller("/Echo", envelope("getServiceStatus", serviceID="one", sessionToken=token))
    assert polled["status_base64"] == "COMPLETED" and polled["text"] == "x"
    failed = ada.start("Raises", "bad", how="sentence")
    assert failed.status == 202 and ada.ended("bad")["why"] == "The oven's door is open."
    assert ada.start("Raises", "bad", how="sentence")["state"] == "failed"


def test_another_project_sees_nothing_of_it(people: Callable[..., Api]) -> None:
    ada, eve, guest = people("ada"), people("eve", "acoustics"), people("gil", role=Role.GUEST)
    ada.start("Talk", "one")
    ask = {"If-None-Match": '"what nobody has"'}  # so pages ask, whose answers are kept for a moment
    assert [one["serviceID"] for one in ada.get("/executions", ask)["executions"]] == ["one"]
    assert ada.get("/executions/one", ask).status == 200 and eve.get("/executions/one", ask).status == 404
    assert eve.get("/executions", ask)["executions"] == []
    assert eve.get("/executions")["executions"] == [] and eve.get("/executions", serviceID="one")["executions"] == []
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/outputs", None),
        ("GET", "/log", None),
        ("GET", "/timeline", None),
        ("GET", "/files", None),
        ("GET", "/files/x", None),
        ("POST", "/abort", {}),
        ("POST", "/messages", {"message": "m"}),
        ("DELETE", "", None),
    ):
        of_another, unknown = (eve(method, f"/executions/{name}{path}", body) for name in ("one", "two"))
        assert is_problem(of_another, 404, "UnknownServiceID") and of_another.body == unknown.body, (method, path)
    assert is_problem(eve.start("Talk", "one"), 409, "ServiceIDInUse")
    assert guest.get("/executions/one").status == 200
    assert is_problem(guest("POST", "/executions/one/abort", {}), 403, "NotPermitted")
    assert is_problem(guest.start("Talk", "two"), 403, "NotPermitted")
    assert "start executions" not in guest.get("/me")["may"] and "see executions" in guest.get("/me")["may"]
    assert ada("POST", "/executions/one/abort", {})["success"] is True


def test_without_a_good_token_nobody_is_told_anything_but_how_to_call(web: Web, people: Callable[..., Api]) -> None:
    nobody, wrong = Api(web, ""), Api(web, "x.y")
    for path in ("", "/me", "/services", "/executions", "/instruments", "/schedules", "/machines", "/nothing"):
        said = nobody.get(path)
        assert is_problem(said, 401, "TokenValidationFailed") and "Bearer" in said["detail"], path
        assert said.headers["www-authenticate"].startswith("Bearer")
        assert is_problem(wrong.get(path), 401, "TokenValidationFailed")
    assert is_problem(Api(web, "", Authorization="Basic YTpi").get("/me"), 401, "TokenValidationFailed")
    assert nobody.get("/openapi.json")["openapi"].startswith("3.1")


WRONG: list[tuple[Any, int, str, str]] = [
    ({"service": "Echo", "inputs": {"text": "x", "number": 5000}}, 422, "InvalidParameter", "between -5 and 1000"),
    ({"service": "Echo", "inputs": {"text": "x", "number": "three"}}, 422, "InvalidParameter", "a whole number"),
    ({"service": "Echo", "inputs": {"text": ["x"]}}, 422, "InvalidParameter", "must be a text"),
    ({"service": "Echo", "inputs": {}}, 422, "MissingParameter", "text is missing"),
    ({"service": "Echo", "inputs": {"text": "x", "colour": "blue"}}, 422, "InvalidParameter", "red, green"),
    ({"service": "Echo", "inputs": {"text": "x", "nunber": 1}}, 422, "InvalidParameter", "its inputs are"),
    ({"service": "Ecko"}, 422, "InvalidParameter", "There is no service “Ecko”"),
    ({"service": "Echo", "serviceid": "one"}, 422, "InvalidParameter", "serviceid"),
    ({"serviceID": "one"}, 422, "InvalidParameter", "“service” in the body"),
    ({"service": "Echo", "serviceID": "  ", "inputs": {"text": "x"}}, 422, "MissingParameter", "serviceID"),
    ({"service": "Echo", "serviceID": "x" * 1001}, 422, "InvalidParameter", "serviceID"),
    ([], 422, "InvalidParameter", "the body"),
    (b'{"service": "Echo"', 400, "InvalidParameter", "line 1, column 19"),
    (b'{"service": "Echo", "inputs": {"fraction": NaN}}', 400, "InvalidParameter", "NaN"),
    (b'{"service": "\xff"}', 400, "InvalidParameter", "no UTF-8"),
    (b'{"service": "Echo", "serviceID": "a\\u0000"}', 400, "InvalidParameter", "U+0000"),
    (b'{"service": "Echo", "serviceID": "\\ud800"}', 400, "InvalidParameter", "U+D800"),
    (b"[" * 100_000, 400, "InvalidParameter", "too deeply"),
    (b'{"service": "Echo", "inputs": ' + b'{"a":' * 50 + b"1" + b"}" * 51, 400, "InvalidParameter", "too deeply"),
    (b" " * 3_000_000, 413, "InvalidParameter", "larger than 2097152 bytes"),
]


def test_what_can_not_be_started_is_told_in_a_sentence_with_a_code(people: Callable[..., Api], guarded: Lab) -> None:
    ada = people("ada")
    for body, status, code, words in WRONG:
        said = ada("POST", "/executions", body)
        assert is_problem(said, status, code) and words in said["detail"], (body, said["detail"])
    assert list(guarded.store.names()) == []


def test_what_is_asked_otherwise_wrongly_is_told_likewise(people: Callable[..., Api]) -> None:
    ada = people("ada")
    for method, path, status, words in (
        ("GET", "/executions?limit=0", 422, "limit"),
        ("GET", "/executions?state=gone", 422, "state"),
        ("GET", "/executions?stat=queued", 422, "stat"),
        ("GET", "/executions?before=now", 422, "before"),
        ("GET", "/executions/one?wait=long", 422, "wait"),
        ("GET", "/executions/one?wait=31", 422, "wait"),
        ("GET", "/nothing", 404, "nothing at"),
        ("GET", "/services/Nope", 404, "no such service"),
        ("PATCH", "/executions", 405, "takes GET"),
    ):
        said = ada(method, path)
        assert is_problem(said, status, "InvalidParameter") and words in said["detail"], (path, said["detail"])
    said = ada("POST", "/executions", b"service=Echo", {"Content-Type": "application/x-www-form-urlencoded"})
    assert is_problem(said, 415, "InvalidParameter") and "application/json" in said["detail"]
    for name in ("..", ".labwaiter", "%2e%2e%2fx", "a%00b", "%F0%9F%98%80", "x" * 400):
        assert ada.get(f"/executions/{name}").status == 404, name


def test_a_wait_ends_with_what_has_changed_and_else_with_its_time(people: Callable[..., Api], guarded: Lab) -> None:
    ada = people("ada")
    ada.start("Talk", "one")
    said = ada.get("/executions/one")
    while said["state"] != "running" or said["progress"]["stage"] != "listening":
        said = ada.get("/executions/one", {"If-None-Match": said.headers["etag"]}, wait=20)
        assert said.status == 200
    etag = {"If-None-Match": said.headers["etag"]}
    began = time.monotonic()
    same = ada.get("/executions/one", etag, wait=1)
    assert (same.status, same.body) == (304, b"") and time.monotonic() - began >= 1
    assert ada.get("/executions/one", etag).status == 304
    assert ada("POST", "/executions/one/messages", {"message": "hello"})["response"] == "you said hello"
    heard = ada.get("/executions/one", etag, wait=20)
    assert heard.status == 200 and heard["messages"] == ["hello"]
    threading.Timer(0.5, lambda: guarded.jobs.notify(None, "one", "bye", SHELL)).start()
    assert ada.ended("one")["outputs"] == {"result": "hello|bye"}


def test_those_who_wait_hold_up_no_poll(people: Callable[..., Api], web: Web) -> None:
    ada = people("ada")
    ada.start("Talk", "one")
    eventually(lambda: ada.get("/executions/one")["progress"]["stage"] == "listening")
    etag = ada.get("/executions/one").headers["etag"]
    answers: list[int] = []

    def wait() -> None:
        answers.append(ada.get("/executions/one", {"If-None-Match": etag}, wait=30).status)

    waiting = [threading.Thread(target=wait) for _ in range(50)]
    for thread in waiting:
        thread.start()
    token = ada.headers["Authorization"].split()[1]
    for _ in range(5):
        assert web("/Talk", envelope("getServiceStatus", serviceID="one", sessionToken=token)).status.startswith("200")
    assert answers == []
    ada("POST", "/executions/one/messages", {"message": "hello"})
    for thread in waiting:
        thread.join(PATIENCE)
    assert answers == [200] * 50
    ada("POST", "/executions/one/abort", {})


def test_a_list_is_filtered_and_turned_page_by_page(people: Callable[..., Api], guarded: Lab) -> None:
    ada, bob = people("ada"), people("bob")
    for number in range(5):
        (bob if number == 2 else ada).start("Echo", f"e{number}", text="x")
    ada.start("Talk", "talks")
    for number in range(5):
        guarded.ended(f"e{number}")
    guarded.caught_up("e4")

    def listed(**query: Any) -> list[str]:
        return [one["serviceID"] for one in ada.get("/executions", **query)["executions"]]

    assert listed() == ["talks", "e4", "e3", "e2", "e1", "e0"]
    assert listed(service="echo", limit=2) == ["e4", "e3"] and listed(user="bob") == ["e2"]
    assert listed(state=["queued", "running"]) == ["talks"] and listed(serviceID="e1") == ["e1"]
    created = ada.get("/executions/e2")["created"]
    assert listed(until=created) == ["e1", "e0"] and listed(since=created) == ["talks", "e4", "e3", "e2"]
    pages, before = [], {}
    while True:
        page = ada.get("/executions", limit=2, **before)
        pages.append([one["serviceID"] for one in page["executions"]])
        if page["next"] is None:
            break
        before = {"before": page["next"]}
    assert pages == [["talks", "e4"], ["e3", "e2"], ["e1", "e0"]]
    etag = {"If-None-Match": ada.get("/executions").headers["etag"]}
    assert ada.get("/executions", etag).status == 304
    ada("POST", "/executions/talks/abort", {})
    assert ada.get("/executions", etag).status == 200


def test_a_serviceID_of_any_letters_is_reached_by_its_href(people: Callable[..., Api], guarded: Lab) -> None:
    ada = people("ada")
    for odd in ("a/b c?%#", "..", "日本", "x~y", "abort", "ü" * 200):
        said = ada.start("Echo", odd, text="x")
        assert said.status == 202 and ada.get(said["href"])["serviceID"] == odd
        assert ada.get("/executions", serviceID=odd)["executions"][0]["href"] == said["href"]


@pytest.mark.folder_way
def test_an_operator_checks_reserves_and_gives_back_and_anybody_makes_safe(people: Callable[..., Api]) -> None:
    ada, olga = people("ada"), people("olga", role=Role.OPERATOR)
    assert [(one["name"], one["state"]) for one in ada.get("/instruments")["instruments"]] == [
        ("smu", "free"),
        ("relays", "free"),
    ]
    assert is_problem(ada("POST", "/instruments/smu/check"), 403, "NotPermitted")
    assert olga("POST", "/instruments/smu/check")["ok"] is True
    reserved = olga("PUT", "/instruments/smu/reservation", {"minutes": 5})
    assert reserved["state"] == "reserved" and reserved["words"].startswith("reserved by olga until")
    otto = people("otto", role=Role.OPERATOR)
    said = otto("PUT", "/instruments/smu/reservation", {"minutes": 5})
    assert is_problem(said, 409, "Unavailable") and "reserved by olga" in said["detail"]
    assert otto("DELETE", "/instruments/smu/reservation").status == 204
    assert ada.get("/instruments/smu")["state"] == "free"
    assert is_problem(ada.get("/instruments/nope"), 404, "UnknownInstrument")
    assert is_problem(olga("PUT", "/instruments/smu/reservation", {"minutes": -1}), 422, "InvalidParameter")
    stopped = ada("POST", "/instruments/smu/make-safe")
    assert stopped.status == 200 and stopped["results"] == [
        {"name": "smu", "safe": True, "why": "made safe and read back"}
    ]
    everything = ada("POST", "/instruments/make-safe", {})
    assert {result["name"] for result in everything["results"] if result["safe"]} == {"smu", "relays"}
    guest = people("gil", role=Role.GUEST)
    assert is_problem(guest("POST", "/instruments/make-safe", {}), 403, "NotPermitted")
    assert is_problem(guest("POST", "/instruments/stop", {}), 403, "NotPermitted")


@pytest.mark.folder_way
def test_STOP_ends_what_uses_an_instrument_and_it_stays_stopped_until_it_is_put_back(
    people: Callable[..., Api], guarded: Lab
) -> None:
    ada, eve, olga = people("ada"), people("eve", "acoustics"), people("olga", role=Role.OPERATOR)
    ada.start("Uses", "one", device="smu")
    eventually(lambda: ada.get("/executions/one")["progress"]["stage"] == "energised")
    assert eve.get("/instruments/smu")["serviceID"] == "one"
    assert is_problem(eve("POST", "/instruments/smu/make-safe"), 409, "Unavailable")
    began = time.monotonic()
    stopped = eve("POST", "/instruments/stop", {"names": ["smu"]})
    assert time.monotonic() - began < 30 and [result["name"] for result in stopped["results"]] == ["smu"]
    assert ada.ended("one")["state"] == "aborted"
    assert olga.get("/instruments/smu")["outOfService"]["why"] == "STOP"
    assert olga.get("/instruments/smu")["state"] == "stopped"
    assert is_problem(eve("DELETE", "/instruments/smu/out-of-service"), 403, "NotPermitted")
    assert olga("DELETE", "/instruments/smu/out-of-service").status == 204
    assert olga.get("/instruments/smu")["outOfService"] is None
    too_long = olga("PUT", "/instruments/relays/out-of-service", {"reason": "its fan is loud" * 30})
    assert is_problem(too_long, 422, "InvalidParameter") and "450 characters; 300 are the most" in str(too_long)
    assert olga.get("/instruments/relays")["outOfService"] is None  # and no half of it is kept
    out = olga("PUT", "/instruments/relays/out-of-service", {"reason": "its fan is loud"})
    assert out["state"] == "out of service"
    assert "its fan is loud" in out["words"] and out["outOfService"]["by"] == "olga"
    assert [result["name"] for result in ada("POST", "/instruments/relays/stop")["results"]] == ["relays"]
    assert is_problem(ada("POST", "/instruments/nope/stop"), 404, "UnknownInstrument")
    assert is_problem(ada("POST", "/instruments/stop", {"names": []}), 422, "InvalidParameter")  # not all of them


@pytest.mark.folder_way
def test_an_operator_takes_an_instrument_in_hand_and_the_second_one_asks_for_it(
    people: Callable[..., Api], guarded: Lab
) -> None:
    olga, otto, ada = people("olga", role=Role.OPERATOR), people("otto", role=Role.OPERATOR), people("ada")
    at = "/instruments/smu/direct-control"
    said = olga.get(at)
    assert is_problem(said, 404, "InvalidParameter") and "smu is in nobody's hands, it is free" in said["detail"]
    assert is_problem(ada("PUT", at, {}), 403, "NotPermitted")
    assert olga("PUT", at, {"minutes": 10}).status in (200, 202)
    held = eventually(lambda: (said := olga.get(at)).status == 200 and said["readings"] and said.data)
    assert held["own"] and held["by"] == "olga" and 500 < held["until"] - held["since"] <= 600
    volts = next(item for item in held["panel"] if item["name"] == "volts")
    assert volts["what"] == "control" and volts["inputs"][0]["high"] == 210 and volts["unit"] == "V"
    said = olga("PUT", f"{at}/controls/volts", {"value": 1.5})
    assert said["done"] and said["read"]["value"] == 1.5
    said = olga("PUT", f"{at}/controls/volts", {"value": 500})
    assert is_problem(said, 422, "InvalidParameter") and "between -210 and 210 V" in said["detail"]
    assert olga("POST", f"{at}/actions/output", {"inputs": {"on": True}})["done"]
    assert is_problem(olga("POST", f"{at}/actions/fly", {}), 422, "InvalidParameter")
    # the second one sees whose it is, and asks
    said = otto("PUT", at, {})
    assert is_problem(said, 409, "Unavailable") and "in the hands of olga" in said["detail"]
    assert is_problem(otto("PUT", f"{at}/controls/volts", {"value": 1}), 409, "Unavailable")
    assert not otto.get(at)["own"] and olga.get("/instruments/smu")["inHandOf"] == "olga"
    assert otto("POST", f"{at}/requests", {"text": "ten minutes, please"})["by"] == "olga"
    asked = eventually(lambda: olga.get(at)["asked"])
    assert [(one["by"], one["text"]) for one in asked] == [("otto", "ten minutes, please")]
    assert is_problem(otto("DELETE", at), 403, "NotPermitted")
    assert olga("DELETE", at).data == {"safe": True}
    assert olga.get("/instruments/smu")["state"] == "free"
    # its upkeep
    assert otto("POST", "/instruments/smu/notes", {"text": "its fan is loud"}).status == 204
    assert is_problem(otto("POST", "/instruments/smu/notes", {"text": ""}), 422, "InvalidParameter")
    told = ada.get("/instruments/smu/upkeep")
    assert told["log"][-1]["text"] == "its fan is loud" and told["log"][-1]["by"] == "otto"
    assert told["seconds"] > 0 and told["executions"] == 0 and told["outOfService"] is None


@pytest.mark.folder_way
def test_what_waits_is_withdrawn_by_those_who_may_and_a_log_is_read_part_by_part(
    people: Callable[..., Api], guarded: Lab
) -> None:
    ada, eve, olga = people("ada"), people("eve", "acoustics"), people("olga", role=Role.OPERATOR)
    ada.start("Uses", "first", device="smu")
    eventually(lambda: ada.get("/executions/first")["progress"]["stage"] == "energised")
    for name in ("second", "third"):
        ada.start("Uses", name, device="smu")
    eve.start("Uses", "hers", device="smu")
    assert eve("POST", "/clear-queue", {})["withdrawn"] == ["hers"]
    assert is_problem(olga("POST", "/clear-queue", {"machines": ["bench"]}), 422, "InvalidParameter")
    assert sorted(olga("POST", "/clear-queue", {})["withdrawn"]) == ["second", "third"]
    assert ada.get("/executions/second")["state"] == "aborted"
    printed = "".join(f"line {number} \u00e9\n" for number in range(3000))
    (guarded.folder("first") / "log.txt").write_text(printed)
    read, at = b"", 0
    while True:
        part = ada.get("/executions/first/log/part", **{"from": at, "bytes": 10_000})
        assert part["from"] == at and part["to"] <= part["length"] == len(printed.encode())
        if part["to"] == at:
            break
        read, at = read + part["text"].encode(), part["to"]
    assert read.count(b"\n") == 3000 and at == len(printed.encode())
    end = ada.get("/executions/first/log/part")
    assert end["text"] == printed  # all of it is one part
    assert is_problem(eve.get("/executions/first/log/part"), 404, "UnknownServiceID")
    assert ada("POST", "/executions/first/abort")["success"]


def test_what_is_scheduled_is_told(people: Callable[..., Api], guarded: Lab, tmp_path: Path) -> None:
    ada = people("ada")
    assert ada.get("/schedules").data == {"schedules": []}
    (tmp_path / "schedule.toml").write_text('[schedules.air]\nservice = "Echo"\nevery = "1 h"\ninputs = {text = "x"}\n')
    (air,) = ada.get("/schedules")["schedules"]
    assert (air["name"], air["service"], air["inputs"], air["last"]) == ("air", "Echo", {"text": "x"}, None)
    assert 0 < air["next"] - time.time() <= 3600
    (tmp_path / "schedule.toml").write_text("[schedules.air]\n")
    said = ada.get("/schedules")
    assert is_problem(said, 503, "Unavailable") and "administrator" in said["detail"]


# -- without TOKENS: whoever calls from this machine by its own names, and nobody else -----------------------


@pytest.fixture
def here(make_lab: Callable[..., Lab]) -> Iterator[Web]:
    lab = make_lab(TOKENS="")
    lab.supervise()
    one = Web(lab)
    yield one
    one.close()


@pytest.mark.folder_way
def test_this_machine_may_all_without_a_token(here: Web) -> None:
    api = Api(here, "")
    assert api.get("/me")["role"] == "operator" and "on this machine alone" in api.get("/me")["tokens"]
    assert api.start("Echo", "one", text="x").status == 202


@pytest.mark.folder_way
def test_it_answers_by_its_own_names_and_by_no_stranger_s(here: Web) -> None:
    for host in ("evil.example", f"evil.example:{here.port}", f"10.0.0.7:{here.port}", "localhost.evil.example"):
        said = Api(here, "", Host=host).get("/services")
        assert is_problem(said, 403, "NotPermitted") and "localhost" in said["detail"]
    for host in ("localhost", f"localhost:{here.port}", "127.0.0.1:1", f"[::1]:{here.port}", "lab.localhost"):
        assert Api(here, "", Host=host).get("/services").status == 200


@pytest.mark.folder_way
def test_a_page_of_another_site_starts_nothing(here: Web) -> None:
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{here.port}", "http://127.0.0.1:1"):
        said = Api(here, "", Origin=origin).start("Echo", "one", text="x")
        assert is_problem(said, 403, "NotPermitted") and "another site" in said["detail"]
        asked = Api(here, "", Origin=origin, Access_Control_Request_Method="POST")("OPTIONS", "/executions")
        assert not [name for name in asked.headers if name.startswith("access-control")]
    assert list(here.lab.store.names()) == []
    assert Api(here, "", Origin=f"http://127.0.0.1:{here.port}").start("Echo", "one", text="x").status == 202


@pytest.mark.folder_way
def test_what_a_proxy_hands_on_is_refused(here: Web) -> None:
    said = Api(here, "", X_Forwarded_For="10.0.0.7").get("/openapi.json")
    assert is_problem(said, 401, "TokenValidationFailed") and "TOKENS" in said["detail"]


@pytest.mark.folder_way
def test_chunks_are_read(here: Web) -> None:
    body = b'{"service": "Echo", "serviceID": "one", "inputs": {"text": "x"}}'
    request = (
        (
            f"POST {here.lab.settings.context_root}/api/v1/executions HTTP/1.1\r\nHost: localhost\r\n"
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        ).encode()
        + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:20], body[20:]))
        + b"0\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", here.port), PATIENCE) as line:
        line.sendall(request)
        assert line.recv(100).startswith(b"HTTP/1.1 202")
