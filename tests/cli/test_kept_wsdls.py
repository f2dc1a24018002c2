"""check --keep: what callers have registered is kept, and a change that they would feel is told."""

import json

import pytest

INSERTED = '    mode: Literal["good"', '    speed: int = 3,\n    mode: Literal["good"'
APPENDED = '    words: str = "",\n', '    words: str = "",\n    speed: int = 3,\n'


def file(shell):
    return str(shell.folder / "services" / "count.py")


def change(shell, old, new, name="count.py"):
    """Write the service file anew, with another text in it."""
    text = (shell.folder / "services" / "count.py").read_text()
    assert old in text
    shell.write(name, text.replace(old, new))


def test_a_wsdl_is_kept_the_same_wherever_it_is_made(shell):
    kept = shell.folder / "services" / "Count.wsdl"
    assert "was not kept: `labwaiter check --keep` does that." in shell("check", file(shell)).stdout
    said = shell("check", "--keep", file(shell))
    assert said.exit_code == 0 and "was kept as Count.wsdl." in said.stdout
    first = kept.read_bytes()
    assert b"startCount" in first and b"address.of.this.service.invalid" in first and b"127.0.0.1" not in first
    shell.environ |= {"PORT": "9999", "PUBLIC_URL": "https://lab.example", "TOKENS": "none"}
    assert shell("check", "--keep").exit_code == 0
    assert kept.read_bytes() == first
    assert "is as Count.wsdl has it." in shell("check", file(shell)).stdout


def test_what_registered_callers_would_feel_is_wrong_until_it_is_kept(shell):
    shell("check", "--keep")
    change(shell, *INSERTED)
    said = shell("check", file(shell))
    assert said.exit_code == 1
    assert "count.py breaks its callers." in said.stdout
    assert "error    The input speed of startCount was put in before mode." in said.stdout
    told = json.loads(shell("check", "--json").stdout)["Count"]
    assert told["kept"] is True and [change["level"] for change in told["changes"]] == ["error"]
    said = shell("check", "--keep")
    assert said.exit_code == 0 and "was kept as Count.wsdl, which it changed:" in said.stdout
    assert shell("check").exit_code == 0


def test_what_is_appended_is_fine(shell):
    shell("check", "--keep")
    change(shell, *APPENDED)
    said = shell("check")
    assert said.exit_code == 0
    assert "fine     The input speed of startCount was appended." in said.stdout


def test_all_files_are_told_and_a_wrong_one_keeps_nothing_from_the_others(shell):
    shell.write("odd.py", "x = (\n")
    said = shell("check", "--keep")
    assert said.exit_code == 1
    assert "odd.py, line 1:" in said.stderr and "Count (count.py) is right" in said.stdout
    assert (shell.folder / "services" / "Count.wsdl").exists()


def test_a_service_that_is_gone_is_told_as_long_as_its_wsdl_is_kept(shell):
    shell("check", "--keep")
    change(shell, '@service("Count"', '@service("Other"', name="other.py")
    (shell.folder / "services" / "count.py").unlink()
    said = shell("check")
    assert said.exit_code == 1
    assert "Count is no longer there, and Count.wsdl was kept of it" in said.stdout


def test_a_wsdl_that_was_saved_from_a_running_service_is_a_kept_one(shell):
    """As of a release that could not keep them yet: its address is no change."""
    shell("check", "--keep")
    kept = shell.folder / "services" / "Count.wsdl"
    kept.write_bytes(kept.read_bytes().replace(b"http://address.of.this.service.invalid/", b"http://lab.example/Count"))
    assert "is as Count.wsdl has it." in shell("check", file(shell)).stdout


@pytest.mark.parametrize("content", ["", "<html/>", "no XML"])
def test_a_kept_file_that_is_no_wsdl_is_told(shell, content):
    (shell.folder / "services" / "Count.wsdl").write_text(content)
    said = shell("check", file(shell))
    assert said.exit_code == 1 and "The kept WSDL can't be read: " in said.stdout
    assert "has changed since" not in shell("check").stdout  # nobody knows
    said = shell("check", "--keep")
    assert said.exit_code == 0 and "keep it anew" not in said.stdout
    assert "was kept as Count.wsdl; the file that was there could not be read." in said.stdout
    assert "is as Count.wsdl has it." in shell("check").stdout


def test_where_a_wsdl_can_t_be_kept_its_own_file_is_named(shell):
    (shell.folder / "services" / "Count.wsdl").mkdir()
    said = shell("check", "--keep")
    assert said.exit_code == 2 and f"{shell.folder}/services/Count.wsdl can't be written: " in said.stderr


def test_a_services_folder_with_nothing_in_it_is_told(shell):
    (shell.folder / "services" / "count.py").unlink()
    said = shell("check")
    assert said.exit_code == 2 and "holds no service file; labwaiter new NAME writes one." in said.stderr


def test_of_all_files_one_whose_program_is_not_installed_is_kept_too(shell):
    change(shell, "limit=120, at_once=3)", 'limit=120, needs="no-such-program-anywhere")')
    said = shell("check", "--keep")
    assert said.exit_code == 0
    assert "warning  Count needs the program no-such-program-anywhere, which is not installed" in said.stdout
    assert (shell.folder / "services" / "Count.wsdl").exists()
    assert shell("check", file(shell)).exit_code == 1
