"""labwaiter audit: who did what, and whether nobody has changed what is written of that."""

from __future__ import annotations

import getpass


def _file(shell):
    (file,) = (shell.jobs / ".labwaiter" / "audit").iterdir()
    return file


def test_what_was_done_at_the_shell_is_told_and_verified(shell):
    assert shell("audit").output == "Nothing was done yet.\n"
    assert shell("run", "Count", "seconds=0", "--id", "one").exit_code == 0
    assert shell("jobs", "remove", "one").exit_code == 0
    acts = shell.json("audit")
    assert [(act["event"], act["serviceID"], act["face"]) for act in acts] == [
        ("start", "one", "shell"),
        ("remove", "one", "shell"),
    ]
    assert acts[0]["account"].startswith(getpass.getuser())
    lines = shell("audit", "--last", "1").output.splitlines()
    assert len(lines) == 1 and lines[0].startswith("2  ") and " remove serviceID=one " in lines[0]
    said = shell("audit", "verify")
    assert (said.exit_code, said.output.splitlines()[0]) == (
        0,
        f"2 lines, each fits the one before it; the hash of the last one is {acts[1]['hash']}.",
    )


def test_a_line_that_was_changed_is_told_in_a_sentence(shell):
    assert shell("run", "Count", "seconds=0", "--id", "one").exit_code == 0
    file = _file(shell)
    file.write_text(file.read_text().replace('"one"', '"two"'))
    said = shell("audit", "verify")
    assert (said.exit_code, said.output) == (
        1,
        "Line 1 of 000000000001.jsonl was changed: its hash is not that of its text. The 0 lines before it fit.\n",
    )
    assert shell("audit", "verify", "--json").exit_code == 1


def test_who_is_given_a_token_is_remembered_and_no_token(shell):
    assert shell("run", "Count", "seconds=0").exit_code == 0
    token = shell("tokens", "add", "ada", "--project", "optics").stdout.strip()
    assert shell("tokens", "revoke", token.partition(".")[0]).exit_code == 0
    acts = shell.json("audit")[1:]
    assert [(act["event"], act["token"], act["of"], act["of_project"]) for act in acts] == [
        ("token added", token.partition(".")[0], "ada", "optics"),
        ("token revoked", token.partition(".")[0], "ada", "optics"),
    ]
    assert token not in _file(shell).read_text() and token.partition(".")[2] not in _file(shell).read_text()


def test_a_token_that_is_made_before_the_first_start_is_remembered_too(shell):
    assert not shell.jobs.exists()
    assert shell("tokens", "add", "ada").exit_code == 0
    assert [(act["event"], act["of"]) for act in shell.json("audit")] == [("token added", "ada")]


def test_no_token_is_given_that_can_t_be_remembered(shell):
    assert shell("tokens", "add", "ada").exit_code == 0
    (shell.jobs / ".labwaiter" / "audit.lock").unlink()
    (shell.jobs / ".labwaiter" / "audit.lock").mkdir()
    said = shell("tokens", "add", "eve")
    assert said.exit_code == 3 and said.stdout == "" and "could not be remembered who did it" in said.output
    assert [token["user"] for token in shell.json("tokens", "list")] == ["ada"]


def test_an_audit_that_can_t_be_read_is_told_in_a_sentence(shell):
    assert shell("tokens", "add", "ada").exit_code == 0
    file = _file(shell)
    file.unlink()
    file.mkdir()
    for words in (("audit",), ("audit", "verify")):
        said = shell(*words)
        assert (said.exit_code, said.output) == (3, f"Error: {file} can't be used: Is a directory.\n")


def test_an_execution_s_timeline_and_what_it_was_made_by_are_shown(shell):
    assert shell("run", "Count", "seconds=0", "--id", "one").exit_code == 0
    told = shell.json("jobs", "show", "one")
    assert [h["event"] for h in told["timeline"]][:2] == ["queued", "began"]
    assert told["timeline"][-1]["event"] == "ended"
    assert told["madeBy"]["serviceFile"]["file"] == "count.py"
    shown = shell("jobs", "show", "one").output
    assert "count.py: SHA-256 " in shown and "  asked for by shell\n" in shown and "  completed\n" in shown
