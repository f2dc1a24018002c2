"""A token guessed by the time that its refusal takes: by what is reckoned, for a clock tells of the machine, too."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labwaiter.authentication import token_file
from labwaiter.authentication.token_file import TokenFile
from labwaiter.errors import TokenValidationFailed
from labwaiter.model.caller import Role
from labwaiter.settings import load
from labwaiter.store import artifacts
from labwaiter.store.artifacts import Artifacts


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    made = TokenFile(tmp_path / "tokens.json")
    for number in range(5):
        made.add(f"user {number}", "optics", Role.USER, 600)
    return made


def wrong(good: str) -> dict[str, str]:
    """A wrong token of every kind."""
    token_id, _, secret = good.partition(".")
    return {
        "an id that nobody has": f"{'0' * 12}.{secret}",
        "a secret that is wrong at its beginning": f"{token_id}.{'A' if secret[0] != 'A' else 'B'}{secret[1:]}",
        "a secret that is wrong at its end": f"{token_id}.{secret[:-1]}{'A' if secret[-1] != 'A' else 'B'}",
        "a secret that is cut short": f"{token_id}.{secret[:-1]}",
        "one that goes on": f"{good}A",
        "an id alone": token_id,
        "no secret": f"{token_id}.",
        "no id": f".{secret}",
        "nothing of the kind": "hello",
        "another's secret": f"{token_id}.{'x' * len(secret)}",
        "in other letters": good.swapcase(),
        "a blank before it": f" {good}",
        "letters that no token has": "\u6f22\x7f",
    }


@pytest.mark.parametrize("kind", wrong("a.b"))
def test_each_wrong_token_takes_one_hash_and_one_comparison_in_constant_time(
    tokens: TokenFile, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    _, good = tokens.add("ada", "optics", Role.USER, 600)
    hashes: list[str] = []
    compared: list[tuple[int, int]] = []
    real_hash: Callable[[str, str], str] = token_file._hash

    def hash_(salt: str, secret: str) -> str:
        hashes.append(salt)
        return real_hash(salt, secret)

    def compare(one: Any, other: Any) -> bool:
        compared.append((len(one), len(other)))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(token_file, "_hash", hash_)
    monkeypatch.setattr(token_file, "hmac", type("hmac", (), {"compare_digest": staticmethod(compare)}))
    with pytest.raises(TokenValidationFailed, match="^The sessionToken is not accepted here"):
        tokens.identify(wrong(good)[kind])
    assert len(hashes) == 1 and len(hashes[0]) == 32  # salts are of one length, so is what is hashed for one secret
    assert compared == [(64, 64)]


def test_a_link_s_key_is_compared_in_constant_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load({"WAITER_LOG_FOLDER": str(tmp_path / "jobs")}, tmp_path / "env")
    settings.layout.folder.mkdir(parents=True)
    links, compared = Artifacts(settings), []
    key = links.link("one").split("/")[3]

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(
        artifacts, "hmac", type("hmac", (), {"compare_digest": staticmethod(compare), "new": staticmethod(hmac.new)})
    )
    for given in (key, "x" + key[1:], key[:-1], "", "\u6f22"):
        assert links.opens("one", given) is (given == key)
    assert [one for one, _ in compared] == [key.encode()] * 5
    assert hashlib.sha256(b"").digest_size == artifacts.KEY_BYTES  # no shorter secret than what is made of it
