"""`labwaiter init-db`: what it says of a Redis, and what it clears."""

from __future__ import annotations

from pathlib import Path

from fleetlab import FleetLab
from lab import eventually
from labwaiter.model.caller import SHELL
from labwaiter.store.names import folder_name
from operators import Operator


def test_a_redis_that_is_as_it_should_be_is_called_so(fleet: FleetLab, operator: Operator) -> None:
    fleet.redis.client.config_set("appendonly", "yes")
    said = operator.said()
    assert {what for what, (grade, _) in said.items() if grade != "ok"} == {"other keys"}  # its user is all-powerful
    assert "lab.toml names the machines one." in said["lab.toml"][1]
    done = operator("init-db")
    assert done.returncode == 0 and "ok     Redis 7" in done.stdout


def test_what_could_lose_orders_is_said_plainly(fleet: FleetLab, operator: Operator) -> None:
    fleet.redis.client.config_set("maxmemory-policy", "allkeys-lru")
    said = operator.said()
    assert said["maxmemory-policy"][0] == "wrong" and "Make it noeviction" in said["maxmemory-policy"][1]
    assert said["persistence"] == ("mind", said["persistence"][1]) and "keeps nothing on disk" in said["persistence"][1]
    assert operator("init-db").returncode == 1
    fleet.redis.client.config_set("save", "900 1")
    assert "snapshots alone" in operator.said()["persistence"][1]


def test_a_full_redis_is_told(fleet: FleetLab, operator: Operator) -> None:
    fleet.redis.client.config_set("maxmemory", "1")
    assert operator.said()["memory"] == (
        "wrong",
        "This Redis is full: raise maxmemory; starts are refused until then.",
    )


def test_keys_of_other_programs_under_our_prefix_are_seen(fleet: FleetLab, operator: Operator) -> None:
    fleet.redis.client.set("lab:session:17", "x")
    fleet.redis.client.set("other:session", "x")  # nobody's business
    grade, said = operator.said()["keys"]
    assert grade == "wrong" and "lab:session:17" in said and "other:" not in said


def test_a_redis_that_is_not_there_and_a_wrong_password_are_one_sentence_each(
    fleet: FleetLab, operator: Operator
) -> None:
    done = operator("init-db", REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 3 and "Redis can't be reached" in done.stderr and "Traceback" not in done.stderr
    fleet.redis.client.config_set("requirepass", "sesame")
    done = operator("workers")
    assert done.returncode == 3 and "refuses this user or its password" in done.stderr
    assert "sesame" not in operator("init-db", REDIS_URL=fleet.redis.url.replace("//", "//:wrong-sesame@")).stderr


def test_machines_that_were_set_up_otherwise_are_found(fleet: FleetLab, operator: Operator, tmp_path: Path) -> None:
    fleet.supervise()
    other = tmp_path / "other.toml"
    other.write_text("[machines.one]\n[machines.two]\n")
    said = operator.said(LAB=str(other), REDIS_SECRET="another secret of sixteen")
    assert "has another REDIS_SECRET" in said["REDIS_SECRET"][1] and "another lab.toml" in said["lab.toml"][1]
    empty = tmp_path / "empty.toml"
    empty.write_text("")
    assert "[machines.NAME]" in operator.said(LAB=str(empty))["lab.toml"][1]
    empty.write_text("[machines.one\n")
    assert "is no TOML" in operator.said(LAB=str(empty))["lab.toml"][1]


def test_without_redis_these_commands_say_what_they_are_for(operator: Operator) -> None:
    for words in (("init-db",), ("workers",), ("worker",)):
        done = operator(*words, REDIS_URL="")
        assert done.returncode == 2 and "lab of many machines: set REDIS_URL" in done.stderr


def test_cleared_only_this_lab_s_keys_are_gone_and_what_runs_re_appears(fleet: FleetLab, operator: Operator) -> None:
    fleet.supervise()
    fleet.start("Talk", "a talk")
    fleet.running("a talk")
    fleet.redis.client.set("labwaiter:job:x", "another lab's")
    fleet.redis.client.set("lab2:job:x", "another lab's")
    refused = operator("init-db", "--clear", "--yes")
    assert refused.returncode == 1 and "Workers of this lab live (one)" in refused.stderr
    asked = operator("init-db", "--clear", "--force")
    assert asked.returncode == 1 and "Delete every key that begins with lab:" in asked.stdout
    key = f"lab:job:{folder_name('a talk')}"
    assert fleet.redis.client.exists(key)
    fleet.redis.client.hset(key, "lost", 1)
    assert "keys are deleted" in operator("init-db", "--clear", "--force", "--yes").stdout
    eventually(lambda: fleet.redis.client.hexists(key, "view"))
    assert not fleet.redis.client.hexists(key, "lost")
    assert fleet.redis.client.mget("labwaiter:job:x", "lab2:job:x") == [b"another lab's"] * 2
    assert fleet.jobs.record("a talk", SHELL).active and fleet.jobs.abort(None, "a talk", SHELL)
