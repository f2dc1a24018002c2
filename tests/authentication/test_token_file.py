"""TOKENS=file: whose tokens are good, until when, and what the file tells whoever reads it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from here import ROOT
from labwaiter.authentication.token_file import TokenFile, read
from labwaiter.errors import InvalidParameter, Misconfigured, TokenExpired, TokenValidationFailed, Unavailable
from labwaiter.model.caller import Identity, Role


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "tokens.json")


def test_a_token_tells_who_has_it(tokens: TokenFile) -> None:
    _, ada = tokens.add("ada", "optics", Role.USER, 60)
    _, bob = tokens.add("bob", "", Role.OPERATOR, 60)
    assert tokens.identify(ada) == Identity("ada", "optics", Role.USER)
    assert tokens.identify(bob) == Identity("bob", "", Role.OPERATOR)


@pytest.mark.parametrize("changed", ["", "x", "{id}", "{id}.", "{id}.{secret}x", "{other}.{secret}", " {id}.{secret}"])
def test_any_other_is_refused(tokens: TokenFile, changed: str) -> None:
    _, ada = tokens.add("ada", "optics", Role.USER, 60)
    other, _ = tokens.add("bob", "optics", Role.USER, 60)
    token_id, _, secret = ada.partition(".")
    with pytest.raises(TokenValidationFailed, match="not accepted"):
        tokens.identify(changed.format(id=token_id, secret=secret, other=other.id))


def test_the_file_holds_no_token_and_is_its_owner_s_alone(tokens: TokenFile) -> None:
    _, ada = tokens.add("ada", "optics", Role.USER, 60)
    assert ada.partition(".")[2] not in tokens.file.read_text()
    assert stat.S_IMODE(tokens.file.stat().st_mode) == 0o600


def test_one_that_has_run_out_says_whose_it_was(tokens: TokenFile) -> None:
    _, ada = tokens.add("ada", "optics", Role.USER, -1)
    with pytest.raises(TokenExpired, match="has run out") as refused:
        tokens.identify(ada)
    assert refused.value.identity.user == "ada"


def test_a_revoked_one_is_refused_at_once_wherever_it_was_good(tokens: TokenFile) -> None:
    entry, ada = tokens.add("ada", "optics", Role.USER, 60)
    elsewhere = TokenFile(tokens.file)
    assert elsewhere.identify(ada).user == "ada"
    tokens.revoke(entry.id)
    with pytest.raises(TokenValidationFailed):
        elsewhere.identify(ada)
    with pytest.raises(InvalidParameter, match="There is no token"):
        tokens.revoke(entry.id)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"tokens": [{}]}', '{"tokens": [{"id": 1}]}', "[" * 100_000])
def test_a_damaged_file_lets_nobody_in_and_is_left_as_it_is(tokens: TokenFile, text: str) -> None:
    _, ada = tokens.add("ada", "optics", Role.USER, 60)
    tokens.file.write_text(text)
    with pytest.raises(Unavailable, match="tell the administrator"):
        tokens.identify(ada)
    with pytest.raises(Misconfigured, match=r"tokens\.json is damaged"):
        tokens.add("bob", "optics", Role.USER, 60)
    assert tokens.file.read_text() == text


def test_one_that_others_may_write_lets_nobody_in(tokens: TokenFile) -> None:
    _, ada = tokens.add("ada", "optics", Role.USER, 60)
    tokens.file.chmod(0o620)
    with pytest.raises(Unavailable):
        tokens.identify(ada)
    tokens.file.chmod(0o640)
    assert tokens.identify(ada).user == "ada"


def test_a_pipe_in_its_place_holds_nobody_up(tokens: TokenFile) -> None:
    os.mkfifo(tokens.file)
    with pytest.raises(Unavailable):
        tokens.identify("a.b")


@pytest.mark.parametrize("user", ["", " ada", "a\nb", "a" * 101])
def test_a_name_that_can_t_be_is_refused(tokens: TokenFile, user: str) -> None:
    with pytest.raises(InvalidParameter, match="user's name must be"):
        tokens.add(user, "optics", Role.USER, 60)
    assert not tokens.file.exists()


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_none_is_made_that_would_never_run_out(tokens: TokenFile, seconds: float) -> None:
    with pytest.raises(InvalidParameter, match="not without an end"):
        tokens.add("ada", "optics", Role.USER, seconds)
    assert not tokens.file.exists()


@pytest.mark.parametrize("until", ["NaN", "Infinity"])
def test_a_file_with_one_that_would_never_run_out_lets_nobody_in(tokens: TokenFile, until: str) -> None:
    entry, token = tokens.add("ada", "optics", Role.USER, 600)
    tokens.file.write_text(tokens.file.read_text().replace(repr(entry.expires), until))
    with pytest.raises(Unavailable):
        TokenFile(tokens.file).identify(token)


# -- the command ----------------------------------------------------------------------------------


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "app"), "LABWAITER_ENV": str(folder / "env")}
    call = [sys.executable, "-m", "labwaiter", "tokens", *words]
    return subprocess.run(call, env=environment, capture_output=True, text=True, timeout=60)


def test_the_command_makes_one_shows_it_once_and_revokes_it(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("TOKENS=file\n")
    made = command(tmp_path, "add", "ada", "--project", "optics", "--role", "operator", "--days", "2")
    token = made.stdout.strip()
    assert TokenFile(tmp_path / "tokens.json").identify(token) == Identity("ada", "optics", Role.OPERATOR)
    assert "not shown again" in made.stderr and "It counts once" not in made.stderr
    listed = command(tmp_path, "list").stdout
    assert "ada" in listed and "optics" in listed and token.partition(".")[2] not in listed
    (entry,) = json.loads(command(tmp_path, "list", "--json").stdout)
    assert set(entry) == {"id", "user", "project", "role", "created", "expires"}
    assert command(tmp_path, "revoke", entry["id"]).stdout == f"The token {entry['id']} of ada is good no longer.\n"
    assert read(tmp_path / "tokens.json") == {}
    gone = command(tmp_path, "revoke", entry["id"])
    assert gone.returncode == 2 and "\nError: There is no token" in gone.stderr


def test_many_at_once_lose_none(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "app"), "LABWAITER_ENV": str(tmp_path / "env")}
    call = [sys.executable, "-m", "labwaiter", "tokens", "add"]
    made = [
        subprocess.Popen([*call, f"user{n}"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for n in range(6)
    ]
    assert [process.wait(60) for process in made] == [0] * 6
    assert sorted(entry.user for entry in read(tmp_path / "tokens.json").values()) == [f"user{n}" for n in range(6)]
