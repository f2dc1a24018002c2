"""The buttons of a status page that one face made, pressed at another, for an execution on a third machine."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import urlencode

from callers import Caller, Reply, envelope
from fleetlab import Fleet, fleet_environment
from lab import Lab, eventually
from labwaiter.model.caller import SHELL
from labwaiter.store.audit import Audit


def face(fleet: Fleet, name: str) -> Caller:
    lab = Lab(fleet.folder / name / "jobs", fleet.services_folder, **fleet.settings)
    lab.face_environment = lab.environment | fleet_environment(fleet.redis.url, name, fleet.toml)
    return Caller(lab)


def test_any_face_delivers_what_a_button_sends(fleet: Fleet) -> None:
    one, other = face(fleet, "web"), face(fleet, "another-web")
    name = fleet.id_for("north", "Steered")
    fleet.jobs.start(fleet.services["Steered"], name, {}, SHELL)
    eventually(lambda: fleet.jobs.view(name, SHELL).progress.stage)
    reply = one("/Steered", envelope("getServiceStatus", serviceID=name, sessionToken="t"))
    page = base64.b64decode(reply["status_base64"]).decode()
    key = re.search(r'name="key" value="([0-9a-f]{40})"', page)
    assert key is not None and f"/buttons/{name}" in page

    def press(caller: Caller, **what: str) -> Reply:
        body = urlencode({"key": key[1], **what}).encode()
        kind = {"CONTENT_TYPE": "application/x-www-form-urlencoded", "HTTP_ACCEPT": "application/json"}
        return caller(f"/buttons/{name}", body, **kind)

    assert json.loads(press(other, message="PAUSE").body)["response"] == "heard PAUSE"
    assert json.loads(press(one, message="JUMP").body)["why"].startswith("Steered understands PAUSE and GO")
    assert json.loads(press(other, abort="yes").body)["success"] is True
    assert fleet.state(name) == "aborted"
    assert press(one, message="PAUSE").status == "410 GONE"
    machine = [entry for entry in Audit(fleet.labs["north"].settings.layout).entries() if entry["event"] == "notify"]
    assert "by the page's key" in json.dumps(machine)
