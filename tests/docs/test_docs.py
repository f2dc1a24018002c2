"""The documents keep to what the code says."""

import ast
import dataclasses
import re
import subprocess

import pytest

from here import ROOT
from labwaiter import errors
from labwaiter.layout import NAME, Layout
from labwaiter.settings import TABLE, Settings, load, read_env_file
from labwaiter.soap.door import LARGEST

README = (ROOT / "README.md").read_text()


def test_a_setting_is_one_entry_of_the_table() -> None:
    of_settings = [field for field in dataclasses.fields(Settings) if field.name != "env_file"]
    assert [field.metadata["setting"] for field in of_settings] == list(TABLE)
    settings = load({}, ROOT / "no such file")
    for field, setting in zip(of_settings, TABLE, strict=True):
        if setting.name not in ("PUBLIC_URL", "MACHINE"):  # these are judged with others, or are the machine's
            assert getattr(settings, field.name) == setting.read(setting.name, setting.default, ROOT)
        assert setting.secret == (setting.name in ("WEBLAB_PASSWORD", "REDIS_URL", "REDIS_SECRET", "EVENTS_URL"))


@pytest.mark.parametrize("setting", TABLE, ids=lambda s: s.name)
def test_every_setting_is_in_the_readme_as_it_is(setting: object) -> None:
    default = f"`{setting.default}`" if setting.default else ""  # type: ignore[attr-defined]
    row = re.search(rf"^\| `{setting.name}` \| (.*?) ?\| (.*) \|$", README, re.M)  # type: ignore[attr-defined]
    assert row and row[1].strip() == default and row[2] == setting.help  # type: ignore[attr-defined]


def test_the_file_env_names_every_setting_and_shows_its_default() -> None:
    text = (ROOT / "env").read_text()
    for setting in TABLE:
        assert re.search(rf"^#?{setting.name}={re.escape(setting.default)}$", text, re.M), setting.name
    on = read_env_file(ROOT / "env")
    assert set(on) == {"CONTEXT_ROOT", "WAITER_LOG_FOLDER"}
    assert load({}, ROOT / "env") == load({}, ROOT / "no such file")


def test_what_lies_beside_the_jobs_is_told_as_it_is() -> None:
    told = (ROOT / "docs" / "files.md").read_text().partition("## What lies beside the jobs")[2].partition("\n## ")[0]
    rows = [tuple(cell.strip() for cell in row.split("|")[1:-1]) for row in told.splitlines() if row.startswith("|")]
    assert rows[2:] == [(entry.name, entry.writer, entry.reader, entry.purpose) for entry in Layout.entries()]


def test_the_names_of_what_lies_beside_the_jobs_stand_in_one_place() -> None:
    names = {NAME, *(entry.name for entry in Layout.entries() if "." in entry.name)}  # "web" is a word, too
    for file in (ROOT / "app" / "labwaiter").rglob("*.py"):
        if file.name != "layout.py":
            words = {node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)}
            assert not names & words, f"{file.name} names {names & words}"


def test_every_error_code_is_in_the_readme() -> None:
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, errors.ServiceError) and "code" in vars(error):
            later = ("TokenValidationFailed", "NotPermitted")  # not raised yet
            assert f"`{error.code}`" in README or error.code in later


def test_the_largest_request_is_told_as_it_is() -> None:
    assert load({}, ROOT / "no such file").max_body == LARGEST
    assert f"labwaiter\nrefuses over {LARGEST // 2**20} MB" in (ROOT / "docs" / "operating.md").read_text()


def test_what_is_defended_names_tests_that_there_are_and_all_hostile_ones() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    named = {test for test in re.findall(r"`(tests/[\w/.]+)`", text) if not test.endswith("/")}
    assert len(named) > 20 and [test for test in named if not (ROOT / test).is_file()] == []
    hostile = {str(file.relative_to(ROOT)) for file in (ROOT / "tests" / "hostile").glob("test_*.py")}
    assert hostile <= named
    rows = [row.split("|")[1:-1] for row in text.partition("| attack |")[2].splitlines()[2:] if row.startswith("|")]
    assert rows and all("tests/" in test for *_, test in rows)


def test_no_file_holds_a_registry_s_host() -> None:
    hosts = ("py" + "pi.org", "python" + "hosted", "registry." + "npm")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        text = (ROOT / name).read_bytes().decode("utf-8", "replace")
        assert not any(host in text for host in hosts), name
