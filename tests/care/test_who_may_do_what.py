"""A Redis with a password, with TLS, with a user of few rights, and shared by several labs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleetlab import REDIS, Machine, RedisServer, fleet_environment
from here import ROOT
from lab import Lab, eventually
from labwaiter.testing.ports import free_port
from operators import Operator

Make = Callable[..., "SmallLab"]
MakeRedis = Callable[..., RedisServer]
SCRIPT = """
from labwaiter import Client
lab = Client()
talk = lab.start("Talk", "a talk")
while talk.stage != "listening":
    pass
assert talk.notify("hello", wait=20) == "you said hello"
assert talk.data.names() == []
while not talk.abort():
    pass
lab.start("Echo", "an echo", text="x").join(60, raising=True).remove()
while len(lab.executions()) > 1:  # its machine has yet to tell that it is removed
    pass
print([one.service_id for one in lab.executions()])
"""


class SmallLab:
    """A machine with a worker, and a face, in a lab of a prefix of its own."""

    def __init__(self, folder: Path, services: Path, url: str, prefix: str) -> None:
        toml = folder / f"{prefix}.toml"
        toml.write_text("[machines.one]\n")
        self.lab = Lab(folder / f"{prefix}.jobs", services)
        self.machine = Machine(self.lab, "one", url, toml)
        self.machine.environment |= fleet_environment(url, "one", toml, prefix)
        face = {"WAITER_LOG_FOLDER": str(folder / f"{prefix}.face")}
        self.face = Operator(self.lab.environment | fleet_environment(url, "face", toml, prefix) | face)

    def start(self) -> None:
        self.machine.start()
        eventually(lambda: self.face.json("workers")[0]["state"] == "takes orders")

    def script(self, text: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", text], env=self.face.environment, capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def close(self) -> None:
        self.machine.stop()
        self.lab.close()


@pytest.fixture
def make(tmp_path: Path, services: Path) -> Iterator[Make]:
    made: list[SmallLab] = []

    def start(url: str, prefix: str = "labwaiter") -> SmallLab:
        made.append(SmallLab(tmp_path, services, url, prefix))
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.close()


def test_a_password_and_the_rights_in_the_documents_are_enough(make: Make, make_redis: MakeRedis) -> None:
    redis = make_redis(password="sesame")
    text = (ROOT / "docs" / "machines.md").read_text()
    rules = re.search(r"^ACL SETUSER labwaiter (.*)$", text, re.M)
    assert rules is not None
    redis.client.execute_command("ACL", "SETUSER", "labwaiter", *rules[1].replace("PASSWORD", "a-word").split())
    redis.client.execute_command("ACL", "LOG", "RESET")
    redis.client.set("lab2:job:x", "another lab's")
    one = make(redis.url.replace("//:sesame@", "//labwaiter:a-word@"))
    assert one.script(SCRIPT) == "['a talk']\n"
    refused = {entry["object"].decode() for entry in _log(redis)} - {"config|get", "scan"}
    assert not refused - {"another-labs-key"}, refused  # what init-db tries besides
    said = one.face.said()
    assert [what for what, (grade, _) in said.items() if grade == "wrong"] == [] and "other keys" not in said
    # no key of another lab is its
    assert "refuses this user" in one.face("workers", REDIS_PREFIX="lab2").stderr


def _log(redis: RedisServer) -> list[dict[str, bytes]]:
    found = redis.client.execute_command("ACL", "LOG")
    return [
        entry if isinstance(entry, dict) else {k.decode(): v for k, v in zip(entry[::2], entry[1::2], strict=True)}
        for entry in found
    ]


def test_tls_keeps_the_way_to_redis_to_those_who_know_its_certificate(
    make: Make, make_redis: MakeRedis, tmp_path: Path
) -> None:
    certificate, key, port = tmp_path / "redis.crt", tmp_path / "redis.key", free_port()
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    command = ["openssl", *words.split(), "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    files = {"tls-cert-file": certificate, "tls-key-file": key, "tls-ca-cert-file": certificate}
    options = [word for name, file in files.items() for word in (f"--{name}", str(file))]
    make_redis("--tls-port", str(port), "--tls-auth-clients", "no", *options, password="sesame")
    url = f"rediss://:sesame@127.0.0.1:{port}/0"
    one = make(f"{url}?ssl_ca_certs={certificate}")
    assert one.script(SCRIPT) == "['a talk']\n"
    refused = one.face("init-db", REDIS_URL=url)
    assert refused.returncode == 3 and "certificate is not trusted" in refused.stderr and "sesame" not in refused.stderr
    conf, secure = tmp_path / "sentinel.conf", free_port()
    lines = [f"{name} {file}" for name, file in files.items()]
    lines += [f"tls-port {secure}", "port 0", "tls-replication yes", "tls-auth-clients no", f"dir {tmp_path}"]
    conf.write_text("\n".join([*lines, f"sentinel monitor lab 127.0.0.1 {port} 1", "sentinel auth-pass lab sesame\n"]))
    with subprocess.Popen([str(REDIS), str(conf), "--sentinel"], stdout=subprocess.DEVNULL) as sentinel:
        try:
            url = f"rediss+sentinel://:sesame@127.0.0.1:{secure}/lab/0"
            eventually(lambda: one.face("workers", REDIS_URL=f"{url}?ssl_ca_certs={certificate}").returncode == 0)
            assert "certificate is not trusted" in one.face("init-db", REDIS_URL=url).stderr
        finally:
            sentinel.terminate()


def test_two_labs_on_one_redis_see_nothing_of_each_other(make: Make, make_redis: MakeRedis) -> None:
    redis = make_redis()
    first, second = make(redis.url, "lab1"), make(redis.url, "lab2")
    first.script("from labwaiter import Client; Client().start('Talk', 'mine')")
    eventually(lambda: first.face.json("jobs", "show", "mine")["state"] == "running")
    assert second.face.json("jobs", "list") == []
    assert second.face("jobs", "abort", "mine").returncode == 2  # UnknownServiceID
    # the same serviceID is free there
    second.script("from labwaiter import Client; Client().start('Echo', 'mine', text='x').join(60, raising=True)")
    assert first.face.json("jobs", "show", "mine")["state"] == "running"
    assert {key.split(b":")[0] for key in redis.client.keys("*")} == {b"lab1", b"lab2"}
    assert second.face("init-db", "--clear", "--yes", "--force").returncode == 0
    assert first.face.json("jobs", "show", "mine")["state"] == "running"
    assert first.face("jobs", "abort", "mine").returncode == 0


def test_an_order_that_was_copied_from_one_lab_into_another_starts_nothing(make: Make, make_redis: MakeRedis) -> None:
    redis = make_redis()
    first, second = make(redis.url, "lab1"), make(redis.url, "lab2")
    first.script("from labwaiter import Client; Client().start('Echo', 'mine', text='x').join(60, raising=True)")
    (order,) = redis.client.keys("lab1:rq:job:*")  # both labs have the same secret here
    copied = order.replace(b"lab1", b"lab2", 1)
    redis.client.hset(copied, mapping=redis.client.hgetall(order))
    redis.client.rpush("lab2:rq:queue:one", order.rpartition(b":")[2])
    eventually(lambda: redis.client.hget(copied, "status") == b"failed")
    assert second.face.json("jobs", "list") == [] and not list(second.lab.store.names())
    assert "not signed by this lab" in second.machine.log.read_text()
