"""What a job made, by its unguessable link."""

import base64
import http.client
import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest

from callers import Caller, Web
from lab import PATIENCE, Lab, wait_gone
from labwaiter.store import supervisor_client

ROOT = "/sintef/docker_services"


@pytest.fixture
def making(lab: Lab) -> Lab:
    """A lab in which the job `a b` talks on, with files in its folder."""
    lab.start("Talk", "a b")
    lab.running("a b")
    data = lab.folder("a b") / "data"
    (data / "deep").mkdir()
    for name, text in (
        ("part é&1.gcode", "G28"),
        ("page.html", "<script>1</script>"),
        (".hidden", "no"),
        ("deep/log.txt", "d"),
    ):
        (data / name).write_text(text)
    (data / "out.txt").symlink_to("/etc/hostname")
    return lab


def links(caller: Caller) -> dict[str, str]:
    """File → path, as the status page links them."""
    reply = caller.call("Talk", "getServiceStatus", serviceID="a b")
    page = base64.b64decode(reply["status_base64"]).decode()
    found = re.findall(r'<a href="http://lab.example:8080([^"]*)"[^>]*>([^<]*)</a> <small>([^<]*)<', page)
    return {name: path for path, name, _ in found}


def test_the_page_links_what_was_made_and_the_link_gives_it(making: Lab, make_web: Callable[..., Web]) -> None:
    found = links(Caller(making))
    assert set(found) == {"part é&amp;1.gcode", "page.html"}
    path = found["part é&amp;1.gcode"]
    assert path.startswith(f"{ROOT}/files/a%2520b/")
    line = http.client.HTTPConnection("127.0.0.1", make_web(making).port, timeout=PATIENCE)
    line.request("GET", path)
    reply = line.getresponse()
    assert (reply.status, reply.read()) == (200, b"G28")
    assert reply.headers["Content-Type"].startswith("text/plain")


def test_a_page_that_a_job_made_is_downloaded_and_can_t_run(making: Lab) -> None:
    caller = Caller(making)
    reply = caller(making.jobs.artifacts.link("a%20b").replace("%25", "%") + "page.html")
    assert reply.headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in reply.headers["Content-Security-Policy"]
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("file", ["../request.json", ".hidden", "out.txt", "nothing", "deep", "../../x/data/y"])
def test_a_link_leads_nowhere_else(making: Lab, file: str) -> None:
    reply = Caller(making)(making.jobs.artifacts.link("a%20b").replace("%25", "%") + file)
    assert reply.status == "404 NOT FOUND" and b"There is no such file" in reply.body


def test_without_the_key_nothing_is_told(making: Lab) -> None:
    caller = Caller(making)
    for path in ("/files/a%20b", "/files/a%20b/x/page.html", f"/files/a%20b/{'0' * 40}/page.html", "/files/é/é/é"):
        assert caller(path).status == "404 NOT FOUND"
    other = making.jobs.artifacts.link("other").replace("/files/other/", "/files/a%20b/")
    assert caller(other + "page.html").status == "404 NOT FOUND"


def test_all_of_a_job_s_files_are_listed_below_its_link(making: Lab) -> None:
    reply = Caller(making)(making.jobs.artifacts.link("a%20b").replace("%25", "%"))
    assert reply.status == "200 OK" and b"part" in reply.body and b"hidden" not in reply.body
    assert Caller(making)(making.jobs.artifacts.link("a%20b").replace("%25", "%") + "deep/log.txt").body == b"d"


def test_a_file_whose_name_is_no_utf_8_is_shown_and_linked_by_its_bytes(
    making: Lab, make_web: Callable[..., Web]
) -> None:
    name = b"m\xfcll \xe9.gcode"
    with open(bytes(making.folder("a b") / "data") + b"/" + name, "wb") as out:
        out.write(b"G1")
    caller = Caller(making)
    found = links(caller)
    path = found["m\ufffdll \ufffd.gcode"]
    assert path.endswith("/m%FCll%20%E9.gcode")
    port = make_web(making).port
    for where, wanted in ((path, b"G1"), (path.rpartition("/")[0] + "/", b"m%FCll%20%E9.gcode")):
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        line.request("GET", where)
        reply = line.getresponse()
        assert reply.status == 200 and wanted in reply.read()
        line.close()
    (making.folder("a b") / "data" / "other\udcff.bin").write_bytes(b"\0")
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    line.request("GET", path.rpartition("/")[0] + "/other%FF.bin")
    reply = line.getresponse()
    assert reply.status == 200 and reply.read() == b"\0"
    assert "filename*=UTF-8''other%EF%BF%BD.bin" in reply.headers["Content-Disposition"]


@pytest.mark.folder_way
def test_the_secret_behind_the_links_is_this_deployment_s_alone(making: Lab, make_lab: Callable[..., Lab]) -> None:
    making.jobs.artifacts.link("x")
    assert (making.root / ".labwaiter" / "links.key").stat().st_mode & 0o777 == 0o600
    other = make_lab(making.root.parent / "other")
    other.store.make()
    assert other.jobs.artifacts.link("x") != making.jobs.artifacts.link("x")


def test_a_large_file_is_taken_up_where_it_broke_off(making: Lab, make_web: Callable[..., Web]) -> None:
    data: Path = making.folder("a b") / "data" / "large.bin"
    data.write_bytes(bytes(range(256)) * 8000)
    web = make_web(making)
    line = http.client.HTTPConnection("127.0.0.1", web.port, timeout=PATIENCE)
    path = ROOT + making.jobs.artifacts.link("a%20b") + "large.bin"
    line.request("GET", path, headers={"Range": "bytes=2047990-"})
    reply = line.getresponse()
    assert (reply.status, len(reply.read())) == (206, 10)
    line.request("GET", path)
    assert line.getresponse().read() == data.read_bytes()


@pytest.mark.folder_way
def test_health_says_when_nobody_watches_the_jobs(lab: Lab) -> None:
    caller = Caller(lab)
    assert caller("/health").status == "200 OK"
    supervisor = lab.supervisor
    assert supervisor_client.stop(lab.settings, 20)
    wait_gone(supervisor)
    reply = caller("/health")
    assert reply.status == "503 SERVICE UNAVAILABLE" and json.loads(reply.body)["status"] == "no supervisor"


def test_a_link_that_a_job_tells_leads_to_its_file_by_the_address_that_the_caller_used(lab: Lab) -> None:
    caller = Caller(lab)
    caller.call("Link", "startLink", serviceID="one")
    told = lab.ended("one").outputs
    assert told is not None and told["result"].startswith(f"http://lab.example:8080{ROOT}/files/one/")
    assert caller(unquote(told["result"]).partition(ROOT)[2]).body == b"made"


def test_more_files_than_a_page_shows_are_all_on_the_files_own_page(making: Lab) -> None:
    for number in range(30):
        (making.folder("a b") / "data" / f"{number:02}.txt").write_text("x")
    caller = Caller(making)
    found = links(caller)
    assert len(found) == 20
    path = unquote(found["00.txt"]).removesuffix("00.txt")
    assert caller(path.partition(ROOT)[2]).body.count(b"<li>") == 32
