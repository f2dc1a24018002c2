"""A service file is imported once for each change, by one process for all of a deployment."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from here import ROOT
from lab import PATIENCE, eventually
from labwaiter.catalogue import catalogue
from labwaiter.errors import Unavailable
from shelf import Shelf


def test_of_many_processes_one_imports_a_file(shelf: Shelf, tmp_path: Path) -> None:
    shelf.write("Word", before="import time; time.sleep(0.3)\n")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "app"),
        "SERVICES": str(shelf.folder),
        "WAITER_LOG_FOLDER": str(tmp_path / "jobs"),
        "LABWAITER_ENV": os.devnull,
    }
    words = [sys.executable, "-m", "labwaiter", "services", "--json"]
    asking = [subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert all('"Word"' in one.communicate(timeout=PATIENCE)[0] for one in asking)
    assert list(shelf.kept().whole().services) == ["Word"]
    assert shelf.imports("Word") == 1
    assert oct(shelf.cache.stat().st_mode & 0o777) == "0o700"


def test_an_edited_file_counts_for_the_next_look(shelf: Shelf) -> None:
    shelf.write("Word")
    shelf.write("Other")
    kept = shelf.kept()
    assert kept.now("Word").services["Word"].inputs[0].default == "hello"
    shelf.write("Word", "goodbye!")
    assert kept.last().services["Word"].inputs[0].default == "hello"
    assert kept.now("word").services["Word"].inputs[0].default == "goodbye!"
    assert (shelf.imports("Word"), shelf.imports("Other")) == (2, 1)


def test_so_does_a_module_beside_it(shelf: Shelf) -> None:
    (shelf.folder / "_words.py").write_text("WORD = 'hello'\n")
    file = shelf.write("Word", before="import _words\n")
    file.write_text(file.read_text().replace('word: str = "hello"', "word: str = _words.WORD"))
    kept = shelf.kept()
    assert kept.now("Word").services["Word"].inputs[0].default == "hello"
    (shelf.folder / "_words.py").write_text("WORD = 'good morning'\n")
    assert kept.now("Word").services["Word"].inputs[0].default == "good morning"


def test_what_a_broken_file_lacked_makes_it_right(shelf: Shelf) -> None:
    shelf.write("Word", before="import _words\n")
    kept = shelf.kept()
    assert "needs the module _words" in kept.now("Word").broken["Word"].reason
    assert shelf.kept().now("Word").broken and shelf.imports("Word") == 0
    (shelf.folder / "_words.py").write_text("x = (\n")
    assert "has a syntax error" in kept.now("Word").broken["Word"].reason
    (shelf.folder / "_words.py").write_text("x = 1\n")
    assert list(kept.now("Word").services) == ["Word"]


def test_a_file_comes_and_goes_and_is_known_afterwards(shelf: Shelf) -> None:
    kept = shelf.kept()
    assert kept.now().services == {}
    file = shelf.write("Word")
    assert list(kept.now().services) == ["Word"]
    file.unlink()
    for one in (kept, shelf.kept()):
        found = one.now("Word")
        assert (found.services, found.broken, list(found.gone)) == ({}, {}, ["Word"])
        assert found.known("word").operation == "startWord"
        assert found.refusal("Word") == "The service Word is not available: this deployment no longer offers it."
    assert catalogue.known(shelf.cache, "WORD").operation == "startWord"
    assert catalogue.known(shelf.cache, "Other") is None
    assert catalogue.known(shelf.cache / "nowhere", "Word") is None


def test_a_file_that_breaks_leaves_its_last_good_signature(shelf: Shelf) -> None:
    file = shelf.write("Word")
    shelf.kept().now()
    file.write_text(file.read_text() + "\n1 / 0\n")
    found = shelf.kept().now()
    assert "ZeroDivisionError" in found.broken["Word"].reason
    assert found.broken["Word"].last == found.known("Word") == catalogue.known(shelf.cache, "Word")
    with pytest.raises(Unavailable, match="ZeroDivisionError"):
        found.get("Word")


def test_of_two_files_with_one_name_the_first_offers_it(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    shelf.write("Word")
    (shelf.folder / "z.py").write_text((shelf.folder / "word.py").read_text())
    found = shelf.kept().now()
    assert found.services["Word"].file.name == "word.py"
    assert "word.py offers a service of the name Word already" in caplog.text


@pytest.mark.parametrize("needs", ["['a-program-of-ours']", "'a-program-of-ours'"])
def test_a_program_that_is_needed_is_looked_for_without_an_import(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needs: str
) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{tmp_path / 'bin'}")
    shelf.write("Word", more=f", needs={needs}")
    kept = shelf.kept()
    found = kept.now("Word")
    assert "needs the program a-program-of-ours" in found.broken["Word"].reason
    program = tmp_path / "bin" / "a-program-of-ours"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert list(kept.now("Word").services) == ["Word"]
    program.unlink()
    assert list(kept.now("Word").broken) == ["Word"]
    assert shelf.imports("Word") == 1


def test_another_python_or_another_package_is_another_import(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.write("Word")
    shelf.kept().now()
    packages = shelf.folder.parent / "site-packages"
    packages.mkdir()
    monkeypatch.setattr(catalogue, "_places", lambda: [str(packages)])
    shelf.kept().now()
    shelf.kept().now()
    assert shelf.imports("Word") == 2
    (packages / "numpy").mkdir()
    shelf.kept().now()
    assert shelf.imports("Word") == 3


def test_a_file_that_takes_long_holds_up_nobody_else(shelf: Shelf) -> None:
    shelf.write("Word")
    shelf.write("Slow")
    kept = shelf.kept()
    kept.now()
    go = shelf.folder / "go"
    shelf.write("Slow", "slowly", before=f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)\n")
    shelf.write("Word", "quickly")
    asked: list[str] = []
    slow = threading.Thread(target=lambda: asked.append(kept.now("Slow", wait=60).services["Slow"].inputs[0].default))
    slow.start()
    assert kept.now("Word").services["Word"].inputs[0].default == "quickly"
    assert kept.last().services["Slow"].inputs[0].default == "hello"  # a poll
    assert kept.now(wait=0.0).services["Slow"].inputs[0].default == "hello"
    assert not asked
    go.touch()
    slow.join(60)
    assert asked == ["slowly"]


def test_what_is_new_and_still_imported_is_told_so(shelf: Shelf) -> None:
    go = shelf.folder / "go"
    shelf.write("Slow", before=f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)\n")
    kept = shelf.kept()
    assert "is still being imported" in kept.now(wait=0.0).broken["Slow"].reason
    go.touch()
    eventually(lambda: "Slow" in kept.now().services)


def test_a_file_that_could_not_be_imported_is_tried_again_in_a_while(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = tmp_path / "share"
    shelf.write("Word", before=f"open({str(share)!r})\n")
    kept = shelf.kept()
    assert "FileNotFoundError" in kept.now("Word").broken["Word"].reason
    share.touch()
    assert kept.now("Word").broken  # nothing tells that it has come
    monkeypatch.setattr(catalogue, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(catalogue, "AGAIN_TIMES", 0.0)
    eventually(lambda: kept.now("Word").services)  # nobody waits for it
    assert shelf.imports("Word") == 1


def test_a_damaged_cache_is_no_cache(shelf: Shelf) -> None:
    shelf.write("Word")
    shelf.kept().now()
    kept_in = shelf.cache / "word.py.json"
    for text in ("", "[]", "{", '{"form": 1}', "[" * 100_000, kept_in.read_text()[:-40], '{"form": 2}'):
        kept_in.write_text(text)
        assert list(shelf.kept().now().services) == ["Word"]
    kept_in.unlink()
    kept_in.mkdir()
    assert list(shelf.kept().now().services) == ["Word"]


def test_a_cache_that_cannot_be_written_is_done_without(shelf: Shelf) -> None:
    shelf.write("Word")
    shelf.cache.write_text("no folder")
    assert list(shelf.kept().now().services) == ["Word"]
    assert list(shelf.kept().now().services) == ["Word"]
    assert shelf.imports("Word") == 2


def test_threads_that_look_at_once_get_what_is_there_now(shelf: Shelf) -> None:
    shelf.write("Word")
    kept = shelf.kept()
    kept.now()
    for word in ("one", "two!", "three"):
        shelf.write("Word", word)
        found: list[object] = []
        look = lambda: found.append(kept.now("Word").services["Word"].inputs[0].default)  # noqa: B023, E731
        threads = [threading.Thread(target=look) for _ in range(8)]
        for one in threads:
            one.start()
        for one in threads:
            one.join(60)
        assert found == [word] * 8
    assert shelf.imports("Word") == 4
