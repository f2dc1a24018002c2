"""The file env: it means the same to the service, the client and Docker, or it is refused in one sentence."""

from __future__ import annotations

import os

import pytest

from labwaiter.errors import Misconfigured
from labwaiter.settings import load, read_env_file


@pytest.fixture(autouse=True)
def mended(shell):
    """At the end it can be read again, so that the deployment can be stopped."""
    env = shell.folder / "env"
    text = env.read_text()
    yield
    if env.is_dir():
        env.rmdir()
    env.write_text(text)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("PORT = 8080", "write PORT=…, without blanks around the ="),
        ("PORT= 8080", "write PORT=…, without blanks around the ="),
        ('PORT="8080"', "write PORT=…, without quotes"),
        ("CONTEXT_ROOT='/lab'", "write CONTEXT_ROOT=…, without quotes"),
        ("export PORT=8080", "write PORT=…, without export"),
        ("PORT=8080 # the web's", "write PORT=… alone; a comment needs a line of its own"),
        ("PROT=8080", "PROT is no setting; perhaps PORT is meant"),
        ("port=8080", "port is no setting; perhaps PORT is meant"),
        ("context-root=/lab", "context-root is no setting; perhaps CONTEXT_ROOT is meant"),
        ("WAITER_LOG_FOLDERS=jobs", "WAITER_LOG_FOLDERS is no setting; perhaps WAITER_LOG_FOLDER is meant"),
        ("COLOUR=blue", "COLOUR is no setting"),
        ("WAITER_LOG_FOLDER=$HOME/jobs", "write the whole path in WAITER_LOG_FOLDER: $ and ~ stand for nothing here"),
        ("FILES_FOLDER=~/files", "write the whole path in FILES_FOLDER: $ and ~ stand for nothing here"),
        ("PORT: 8080", "write NAME=value, not “PORT: 8080”"),
        ("=8080", "write NAME=value"),
    ],
)
def test_what_others_would_read_otherwise_is_refused_in_one_sentence(shell, line, sentence):
    env = shell.folder / "env"
    env.write_text(env.read_text() + f"{line}\n")
    for words in (("start",), ("services",), ("settings",)):
        said = shell(*words)
        assert (said.exit_code, said.output) == (2, f"Error: env, line 5: {sentence}.\n"), words


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("CONTEXT_ROOT=https://lab.example/lab", "CONTEXT_ROOT is a path alone"),
        ("CONTEXT_ROOT=/müsli", "CONTEXT_ROOT must be a plain path"),
    ],
)
def test_a_root_that_no_address_can_have_is_refused_before_anything_is_there(shell, line, sentence):
    (shell.folder / "env").write_text(f"{line}\nWAITER_LOG_FOLDER=jobs\n")
    said = shell("start")
    assert said.exit_code == 2 and sentence in said.output and not shell.jobs.exists()


def test_a_secret_is_not_shown_where_its_line_is_wrong(shell):
    (shell.folder / "env").write_text('REDIS_SECRET = "my secret"\n')
    said = shell("services")
    assert said.exit_code == 2 and "my secret" not in said.output


def test_an_env_in_another_encoding_or_a_folder_is_a_sentence(shell):
    env = shell.folder / "env"
    env.write_bytes("CONTEXT_ROOT=/k\xfcche\n".encode("latin-1"))
    assert shell("services").output == "Error: env must be a text in UTF-8.\n"
    env.unlink()
    env.mkdir()
    assert shell("services").output == f"Error: {env} can't be read: Is a directory.\n"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        *(("CONTEXT_ROOT", f"/lab{sign}x", "of ASCII letters, digits, - . _ and ~,") for sign in "$;&:@"),
        ("PUBLIC_URL", "http://0.0.0.0:8080", "callers can't be told the address that listens everywhere"),
        ("PUBLIC_URL", "http://[::]", "callers can't be told the address that listens everywhere"),
        ("PUBLIC_URL", "http://lab.example:0", "nobody can be called at port 0"),
        ("PUBLIC_URL", "http://lab..example", "the host is none that callers can be told"),
        ("TRUSTED_PROXIES", "proxy", "TRUSTED_PROXIES must be addresses or networks like 10.0.0.0/8, not “proxy”."),
        ("TRUSTED_PROXIES", "10.0.0.5/8", "write 10.0.0.0/8 for the network, not “10.0.0.5/8”, or the address alone."),
        ("LOG_LIMIT", "1", "LOG_LIMIT must be a number from 10000 to 10000000000 bytes, not “1”."),
        ("MAX_QUEUED", "x", "MAX_QUEUED must be a number from 0 to 1000000, not “x”."),
        ("STOP_SECONDS", "x", "STOP_SECONDS must be a number from 2 to 86400 seconds, not “x”."),
    ],
)
def test_a_value_that_can_t_be_is_told_in_a_sentence(tmp_path, name, value, sentence):
    with pytest.raises(Misconfigured) as told:
        load({name: value}, tmp_path / os.devnull)
    assert sentence in str(told.value)


def test_proxies_over_ipv4_may_be_written_as_a_server_of_ipv6_sees_them(tmp_path):
    settings = load({"TRUSTED_PROXIES": "::ffff:10.0.0.1, ::ffff:10.1.0.0/112,fd00::/8"}, tmp_path / os.devnull)
    assert [str(one) for one in settings.trusted_proxies] == ["10.0.0.1/32", "10.1.0.0/16", "fd00::/8"]


def test_a_control_character_in_a_name_is_not_shown_as_it_is(tmp_path):
    (tmp_path / "env").write_bytes(b"PO\0RT=8080\n")
    with pytest.raises(Misconfigured, match="PO\ufffdRT is no setting"):
        read_env_file(tmp_path / "env")


def test_files_of_toml_are_read_as_editors_write_them_or_refused_in_a_sentence(shell):
    file = shell.folder / "lab.toml"
    text = '[instruments.relays]\ndriver = "labwaiter.instruments.drivers:RelayBoard"\nport = "sim://relays"\n'
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    shell.environ["LAB"] = "lab.toml"
    assert "relays" in shell("instruments", "list").output
    file.write_bytes(b"# m\xfcsli\n")
    said = shell("instruments", "list")
    assert (said.exit_code, said.output) == (2, "Error: lab.toml must be a text in UTF-8.\n")
    file.unlink()
    file.mkdir()
    assert shell("instruments", "list").output == f"Error: {file} can't be read: Is a directory.\n"
    (shell.folder / "schedule.toml").mkdir()
    said = shell("schedule", "--list")
    assert said.output == f"Error: {shell.folder / 'schedule.toml'} can't be read: Is a directory.\n"


def test_line_ends_and_a_mark_of_windows_are_no_part_of_it(tmp_path):
    (tmp_path / "env").write_bytes(b"\xef\xbb\xbfPORT=8091\r\n  # mine\r\nCONTEXT_ROOT=\r\n")
    assert read_env_file(tmp_path / "env") == {"PORT": "8091", "CONTEXT_ROOT": ""}


def test_a_mistake_leaves_what_runs(shell, port):
    done = shell.call("start", "--port", str(port))
    assert done.returncode == 0, done.stderr
    env = shell.folder / "env"
    text = env.read_text()
    env.write_text(text + "PROT=8080\n")
    assert shell.call("start").returncode == 2
    env.write_text(text)
    assert f"works at http://127.0.0.1:{port}/lab/" in shell("health").stdout


def test_the_scripts_read_what_is_set_judged_and_where_it_is_called(shell):
    shell.environ |= {"MAX_RUNNING": "7", "HOST": "0.0.0.0", "PORT": "8091", "TOKENS": "none"}
    lines = shell("settings").stdout.splitlines()
    assert {"CONTEXT_ROOT=/lab", "MAX_RUNNING=7", "HOST=0.0.0.0", "AT=http://127.0.0.1:8091/lab"} <= set(lines)
    # a container is published where this is set: what goes without saying here is said there
    shell.environ |= {"HOST": "127.0.0.1", "TOKENS": ""}
    assert "TOKENS=none" in shell("settings").stdout.splitlines()
    shell.environ["CONTEXT_ROOT"] = "/lab\n"
    assert shell("settings").exit_code == 2


def test_without_a_file_the_defaults_hold(tmp_path):
    assert load({}, tmp_path / "env").port == 8080
    with pytest.raises(Misconfigured, match="PORT must be a number"):
        load({"PORT": "http"}, tmp_path / os.devnull)


@pytest.mark.parametrize("end", ["\u2028", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
def test_no_other_character_than_a_line_feed_ends_a_comment(tmp_path, end):
    (tmp_path / "env").write_bytes(f"# a comment {end}PORT=9999\r\nHOST=127.0.0.1\r\n".encode())
    assert read_env_file(tmp_path / "env") == {"HOST": "127.0.0.1"}


def test_a_file_env_that_is_named_and_not_there_is_told_and_nothing_is_done_without_it(shell):
    shell.environ["LABWAITER_ENV"] = str(shell.folder / "evn")
    for words in (("jobs", "list"), ("services",), ("start",), ("settings",)):
        said = shell.call(*words)
        assert said.returncode != 0 and "Traceback" not in said.stderr, words
        assert f"LABWAITER_ENV names the file {shell.folder / 'evn'}, which is not there" in said.stderr, words
    shell.environ["LABWAITER_ENV"] = str(shell.folder / "env")
