"""A Redis that fails over: sentinels say which is the master, a replica has each order, and what runs runs on."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from fleetlab import Fleet
from lab import PATIENCE, eventually
from labwaiter.errors import Misconfigured, Unavailable
from labwaiter.fleet.address import WRONG_SENTINELS, WRONG_URL, pool_of
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State
from labwaiter.settings import load
from labwaiter.store.names import folder_name
from operators import Operator
from sentinels import NAME, URL_PASSWORD, Sentinels


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[Sentinels]:
    made = Sentinels(tmp_path / "redis")
    yield made
    made.close()


@pytest.fixture
def fleet(make_fleet: Callable[..., Fleet], sentinels: Sentinels) -> Fleet:
    one = make_fleet("north", "south", server=sentinels)
    one.start()
    return one


@pytest.mark.parametrize("how", ["asked", "killed", "hung"])
def test_what_runs_runs_on_when_another_redis_becomes_the_master(fleet: Fleet, sentinels: Sentinels, how: str) -> None:
    talk, echo = fleet.services["Talk"], fleet.services["Echo"]
    name = fleet.id_for("north", "Talk")
    fleet.jobs.start(talk, name, {}, SHELL)
    eventually(lambda: fleet.state(name) == "running")
    put_back = sentinels.fail_over(how)
    assert fleet.jobs.status(talk, name, SHELL).view.record.state is State.RUNNING

    def again(service: str, service_id: str) -> bool:
        try:
            fleet.jobs.start(fleet.services[service], service_id, {"text": "x"}, SHELL)
            return True
        except Unavailable:
            return False

    eventually(lambda: again("Echo", "after"), 60, every=0.3)
    assert fleet.jobs.wait("after", 30, SHELL).state is State.COMPLETED
    put_back()
    assert eventually(lambda: fleet.jobs.record(name, SHELL).as_of is None)
    assert fleet.jobs.notify(talk, name, "bye", SHELL, wait=8) is not None
    assert fleet.jobs.wait(name, 30, SHELL).state is State.COMPLETED
    assert fleet.jobs.status(echo, "after", SHELL).completed


def test_an_order_is_answered_once_a_replica_has_it_and_settled_by_its_service_id(
    fleet: Fleet, sentinels: Sentinels, tmp_path: Path
) -> None:
    once, register = fleet.services["Once"], tmp_path / "register"
    fleet.machines["north"].stop()  # the order stays an order
    name = fleet.id_for("north", "Once")
    for one in sentinels.replicas:
        one.pause()  # replication lags
    for _ in range(2):  # asked again, it is as uncertain
        with pytest.raises(Unavailable, match="not certain yet: no replica .* same serviceID"):
            fleet.jobs.start(once, name, {"register": str(register)}, SHELL)
    for one in sentinels.replicas:
        one.go_on()
    started = eventually(lambda: _started(fleet, name, register), 30)
    assert started and fleet.state(name) == "queued"
    key = f"lab:job:{folder_name(name)}"
    assert any(one.client.exists(key) for one in sentinels.replicas)
    sentinels.fail_over("killed")
    fleet.machines["north"].start()
    assert eventually(lambda: fleet.jobs.record(name, SHELL).state is State.COMPLETED, 60)
    assert len(register.read_text().splitlines()) == 1


def _started(fleet: Fleet, name: str, register: Path) -> bool:
    try:
        return bool(fleet.jobs.start(fleet.services["Once"], name, {"register": str(register)}, SHELL))
    except Unavailable:
        return False


def test_an_order_that_was_withdrawn_does_not_come_back_with_another_master(
    fleet: Fleet, sentinels: Sentinels, tmp_path: Path
) -> None:
    once, register = fleet.services["Once"], tmp_path / "register"
    fleet.machines["north"].stop()
    name = fleet.id_for("north", "Once")
    fleet.jobs.start(once, name, {"register": str(register)}, SHELL)
    for one in sentinels.replicas:
        one.pause()
    with pytest.raises(Unavailable, match="not certain yet"):
        fleet.jobs.abort(once, name, SHELL)
    for one in sentinels.replicas:
        one.go_on()
    sentinels.whole()
    assert fleet.jobs.abort(once, name, SHELL) is True
    sentinels.fail_over("killed")
    fleet.machines["north"].start()
    last = fleet.id_for("north", "Echo", "last")
    eventually(lambda: _echoed(fleet, last), 60, every=0.3)
    assert fleet.jobs.wait(last, 30, SHELL).state is State.COMPLETED  # it was ordered after the other one
    assert fleet.state(name) == "aborted" and not register.exists()


def _echoed(fleet: Fleet, name: str) -> bool:
    try:
        return bool(fleet.jobs.start(fleet.services["Echo"], name, {"text": "x"}, SHELL))
    except Unavailable:
        return False


def test_what_a_lost_master_had_been_told_is_told_the_next_one(fleet: Fleet, sentinels: Sentinels) -> None:
    name = fleet.id_for("north", "Echo")
    fleet.jobs.start(fleet.services["Echo"], name, {"text": "x"}, SHELL)
    assert fleet.jobs.wait(name, 30, SHELL).state is State.COMPLETED
    assert fleet.jobs.status(fleet.services["Echo"], name, SHELL).completed
    sentinels.whole()
    eventually(lambda: all(one.client.hexists(f"lab:job:{name}", "settled") for one in sentinels.replicas))
    old, master, worker = fleet.redis.client.hget(f"lab:job:{name}", "view"), sentinels.master, fleet.machines["north"]
    assert worker.process is not None
    worker.process.send_signal(signal.SIGSTOP)
    running = old.replace(b'"completed"', b'"running"')
    assert running != old
    sentinels.fail_over("asked")
    assert sentinels.master is not master
    # as if the last thing that it had been told had not been replicated
    sentinels.master.client.hset(f"lab:job:{name}", "view", running)
    sentinels.master.client.hdel(f"lab:job:{name}", "settled")
    assert fleet.jobs.status(fleet.services["Echo"], name, SHELL).completed  # who knows of an end doesn't unlearn it
    worker.process.send_signal(signal.SIGCONT)
    other = fleet.face("other")  # it knows nothing but what Redis tells
    eventually(lambda: other.record(name, SHELL).state is State.COMPLETED, 30, every=0.1)


def test_init_db_tells_how_the_sentinels_and_the_replicas_are(fleet: Fleet, sentinels: Sentinels) -> None:
    environment = fleet.machines["north"].environment
    operator = Operator(environment)
    said = operator.said()
    assert said["replicas"] == ("ok", "2 replicas follow the master, and 3 of 3 sentinels answer.")
    for process in sentinels.processes[:2]:
        process.terminate()
        process.wait(PATIENCE)
    grade, sentence = operator.said()["replicas"]
    assert grade == "mind" and "1 of 3 sentinels answer" in sentence
    done = operator("init-db", REDIS_URL=sentinels.url.replace(f"/{NAME}/", "/another/"))
    assert done.returncode == 3 and "No sentinel that REDIS_URL names tells of a master of that name" in done.stderr
    done = operator("init-db", REDIS_URL="redis+sentinel://one.invalid,two.invalid/lab")
    assert done.returncode == 3 and "has no address here" in done.stderr
    for one in sentinels.replicas:
        one.kill()
    eventually(lambda: operator.said()["replicas"][0] == "wrong", 30)
    assert "No replica follows the master" in operator.said()["replicas"][1]


def test_sentinels_with_a_password_and_urls_of_the_other_kind_are_told_by_name(
    fleet: Fleet, sentinels: Sentinels
) -> None:
    operator = Operator(fleet.machines["north"].environment)
    done = operator("init-db", REDIS_URL=f"redis://{sentinels.hosts[0]}:{sentinels.ports[0]}/0")
    assert done.returncode == 3 and "is it a sentinel (then write redis+sentinel://…)" in done.stderr, done.stderr
    redis_itself = f"{sentinels.hosts[0]}:{sentinels.servers[0].port}"
    done = operator("init-db", REDIS_URL=f"redis+sentinel://:{URL_PASSWORD}@{redis_itself}/{NAME}/0")
    assert done.returncode == 3 and "or is none but a Redis" in done.stderr, done.stderr
    for one in sentinels.sentinel.sentinels:
        one.execute_command("ACL", "SETUSER", "default", "on", "resetpass", ">another")
    done = operator("init-db", REDIS_URL=sentinels.url)
    assert done.returncode == 3 and "A sentinel that REDIS_URL names wants a password" in done.stderr, done.stderr


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://:geheim@host1/",
        "redis+sentinel://:geheim@/lab/0",
        "redis+sentinel://:geheim@host1:x/lab/0",
        "redis+sentinel://:geheim@host1:70000/lab/0",
        "redis+sentinel://:geh/eim@host1:26379,host2/lab/0",
        "redis+sentinel://:geheim@host1,,host2/lab/0",
        "redis+sentinel://:geheim@host1/lab/zero",
        "redis+sentinel://:geheim@host1/lab/0?socket_timeout=soon",
        "redis+sentinel://:geheim@host1/lab/0?no_such_option=1",
        "rediss+sentinel://:geheim@[::1/lab/0",
        "redis+sentinel:/:geheim@host1/lab/0",
        "redis://:geh/eim@host:6379/0",
        "redis://:geheim@host:port/0",
    ],
)
def test_a_url_that_is_none_is_one_sentence_without_the_password(url: str) -> None:
    sentence = WRONG_SENTINELS if "sentinel" in url else WRONG_URL
    environment = {"REDIS_URL": url, "REDIS_SECRET": "x" * 20, "LABWAITER_ENV": "/dev/null"}
    with pytest.raises(Misconfigured) as caught:
        pool_of(load(environment).redis_url)
    assert str(caught.value) in (sentence, str(caught.value) if "must begin with" in str(caught.value) else sentence)
    assert "geh" not in str(caught.value) and "eim" not in str(caught.value) and caught.value.__cause__ is None


def test_an_answer_that_comes_too_late_is_nobody_else_s(sentinels: Sentinels) -> None:
    client = redis.Redis(connection_pool=pool_of(sentinels.url, max_connections=1, timeout=5, socket_timeout=0.3))
    client.set("mine", "mine"), client.set("yours", "yours")
    master = sentinels.master
    master.pause()
    with pytest.raises(redis.RedisError):
        client.get("mine")
    master.go_on()
    assert eventually(lambda: _asked(client, "yours"), 30) == b"yours"
    client.close()


def _asked(client: redis.Redis, key: str) -> object:
    try:
        return client.get(key)
    except redis.RedisError:
        return None


def test_a_url_of_sentinels_is_read_whole() -> None:
    pool = pool_of("redis+sentinel://lab%40er:a%2Fb%2C%25c@one.lab,[::1]:5000,three:26380/the%20lab/3")
    kwargs = pool.connection_kwargs
    assert (kwargs["username"], kwargs["password"], kwargs["db"]) == ("lab@er", "a/b,%c", 3)
    at = [one.connection_pool.connection_kwargs for one in pool.sentinel_manager.sentinels]
    assert [(one["host"], one["port"]) for one in at] == [("one.lab", 26379), ("::1", 5000), ("three", 26380)]
    assert pool.service_name == "the lab" and "a/b" not in repr(pool)
    secure = pool_of("rediss+sentinel://one/lab?ssl_ca_certs=/etc/ca.pem")
    assert secure.connection_kwargs["ssl_ca_certs"] == "/etc/ca.pem" and secure.connection_kwargs["db"] == 0
    sentinel = secure.sentinel_manager.sentinels[0].connection_pool
    assert sentinel.connection_kwargs["ssl_ca_certs"] == "/etc/ca.pem" and "SSL" in sentinel.connection_class.__name__
    assert "SSL" in str(secure.connection_class.__mro__)
