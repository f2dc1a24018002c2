"""A Redis that answers, but does nothing: a caller, the log and init-db are told why by name, and what to do."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from fleetlab import RedisServer, fleet_environment
from lab import Lab, eventually
from labwaiter.errors import Unavailable
from labwaiter.fleet import open_jobs
from labwaiter.model.caller import SHELL
from labwaiter.settings import load
from operators import Operator

MakeRedis = Callable[..., RedisServer]


class Face:
    """A face and an operator of a lab with this Redis."""

    def __init__(self, folder: Path, services: Path, url: str) -> None:
        toml = folder / "lab.toml"
        toml.write_text("[machines.one]\n")
        self.lab = Lab(folder / "face" / "jobs", services)
        self.environment = self.lab.environment | fleet_environment(url, "face", toml)
        self.operator = Operator(self.environment)
        self.jobs = open_jobs(load(self.environment))

    def refused(self) -> str:
        """What a caller is told whose start is refused."""
        with pytest.raises(Unavailable) as caught:
            self.jobs.start(self.lab.services["Echo"], f"one-{os.urandom(4).hex()}", {"text": "x"}, SHELL)
        return str(caught.value)

    def init_db(self) -> str:
        """All that is wrong, as init-db says it."""
        done = self.operator("init-db")
        assert done.returncode in (1, 3) and "Traceback" not in done.stderr and "rights" not in done.stdout
        return done.stdout + done.stderr


@pytest.fixture
def make_face(tmp_path: Path, services: Path) -> Iterator[Callable[[str], Face]]:
    made: list[Face] = []

    def make(url: str) -> Face:
        made.append(Face(tmp_path, services, url))
        return made[-1]

    yield make
    for one in made:
        one.lab.close()


def test_one_that_can_t_save(make_redis: MakeRedis, make_face: Callable[[str], Face]) -> None:
    server = make_redis()
    server.client.config_set("save", "3600 1")
    server.client.set("x", 1)
    shutil.rmtree(server.folder)  # its disk is broken
    with pytest.raises(redis.RedisError):
        eventually(server.client.bgsave)  # it begins, …
        eventually(lambda: server.client.set("x", 2) and None)  # … fails, and then nothing may be written
    face = make_face(server.url)
    assert "can't save its data" in face.refused()
    said = face.init_db()
    assert "(MISCONF): see whether its disk is full" in said and "Redis 7" in said  # and all else that can be seen
    assert "can't be reached" not in said
    done = face.operator("jobs", "list")
    assert "Redis can't save its data: these are" in done.stderr
    server.kill()  # asked to end, it would try to save first


def test_one_that_has_become_a_replica(make_redis: MakeRedis, make_face: Callable[[str], Face]) -> None:
    server, master = make_redis(), make_redis()
    face = make_face(server.url)
    server.client.slaveof("127.0.0.1", master.port)
    assert "has become a read-only replica" in face.refused()
    assert "name its master in REDIS_URL" in face.init_db()
    server.client.config_set("replica-serve-stale-data", "no")
    master.kill()
    eventually(lambda: "lost its master" in face.refused())
    assert "(MASTERDOWN): start the master" in face.init_db()


def test_one_that_is_still_loading(make_redis: MakeRedis, make_face: Callable[[str], Face]) -> None:
    server = make_redis("--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024")
    server.client.mset({f"k{number}": "x" * 100 for number in range(6000)})  # 30 s
    server.client.save()
    server.process.kill()
    server.process.wait()
    server._answers = lambda: True  # type: ignore[method-assign]
    server.start()
    with pytest.raises(redis.BusyLoadingError):
        eventually(lambda: _asked(server) and None)
    face = make_face(server.url)
    assert "is still loading its data" in face.refused()
    assert "(LOADING): it answers once it has" in face.init_db()
    server.kill()


def _asked(server: RedisServer) -> None:
    try:
        server.client.ping()
    except redis.BusyLoadingError:
        raise
    except redis.RedisError:
        time.sleep(0.01)  # it doesn't listen yet


def test_one_that_has_no_client_left(make_redis: MakeRedis, make_face: Callable[[str], Face]) -> None:
    server = make_redis("--maxclients", "4")
    others = [redis.Redis.from_url(server.url) for _ in range(3)]
    assert all(one.ping() for one in others)
    face = make_face(server.url)
    assert "has no client left" in face.refused()
    assert "raise maxclients" in face.init_db()
    for one in others:
        one.close()
    face.jobs.start(face.lab.services["Echo"], "one", {"text": "x"}, SHELL)


def test_one_that_wants_more_replicas(make_redis: MakeRedis, make_face: Callable[[str], Face]) -> None:
    server = make_redis("--min-replicas-to-write", "1")
    face = make_face(server.url)
    assert "has no replica that follows it" in face.refused()
    assert "(NOREPLICAS): start them" in face.init_db()


def test_a_user_without_the_rights_and_a_name_without_an_address(
    make_redis: MakeRedis, make_face: Callable[[str], Face]
) -> None:
    server = make_redis()
    server.client.execute_command("ACL", "SETUSER", "few", "on", ">word", "~*", "&*", "+@all", "-hset")
    face = make_face(server.url.replace("//", "//few:word@"))
    assert "refuses this machine" in face.refused()
    done = face.operator("init-db")
    assert "give it the rights that docs/machines.md lists" in done.stdout and "HSET" in done.stdout
    done = face.operator("init-db", REDIS_URL="redis://nobody.invalid:6379/0")
    assert done.returncode == 3 and "has no address here" in done.stderr
