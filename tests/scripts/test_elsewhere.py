"""The scripts on other machines: macOS' bash of 2007, a clone made on Windows, other locales."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from clone import Clone
from here import ROOT

# with Docker they serve on macOS, whose bash is 3.2; what they do without it is for Linux, build.sh's .venv too
NEWER = {
    r"\$\{\w+(\[[^]]*\])?(,|\^)": "upper and lower case by expansion (bash 4)",
    r"\b(mapfile|readarray|coproc)\b": "bash 4",
    r"\b(declare|local|typeset) -[a-zA-Z]*[An]": "associative arrays, references (bash 4)",
    r"\bwait -\w*n": "bash 4.3",
    r"\[\[? -v ": "bash 4.2",
    r"\$\{\w+@": "bash 4.4",
    r"&>>|\|&|;&|;;&": "bash 4",
    r"\$EPOCH|\bBASHPID\b|%\(.*\)T": "bash 4 and 5",
    r"(?<!\+)\"\$\{(?!BASH_SOURCE|@|\w*PIPESTATUS)\w+\[@\]\}\"": "an empty array under set -u (bash 4.4): ${a[@]+…}",
    r"\breadlink -f|\brealpath\b|\bgrep -\w*P|\bsed -i\b|\bdate -d|\bstat -c|\bsort -V|\btac\b": "GNU's alone",
}
SHORT = ["rebuildandrun.sh", "build.sh", "run.sh", "stop.sh", "test.sh"]
SHIPPED = ROOT / "app" / "labwaiter" / "shipped" / "scripts"
SCRIPTS = [*SHORT, *(str(path.relative_to(ROOT)) for path in SHIPPED.glob("*.sh")), "toolkits/run"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_needs_no_newer_shell_than_macos_has(script: str) -> None:
    text = (ROOT / script).read_text(encoding="utf-8")
    code = [re.sub(r"(^|\s)#.*", "", line) for line in text.splitlines()]
    newer = [
        f"{script}:{number}: {why}: {line.strip()}"
        for number, line in enumerate(code, 1)
        for pattern, why in NEWER.items()
        if re.search(pattern, line)
    ]
    assert newer == []


def test_what_is_newer_would_be_noticed() -> None:
    lines = ["${service,,}", "mapfile -t a", "declare -A b", "wait -n", '"${tty[@]}"', "readlink -f x", "[[ -v a ]]"]
    assert [line for line in lines if not any(re.search(pattern, line) for pattern in NEWER)] == []


@pytest.fixture(scope="module")
def from_windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone as Git for Windows makes it by default."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone")
    folder = tmp_path_factory.mktemp("windows") / "labwaiter"
    subprocess.run(["git", "clone", "-q", "-c", "core.autocrlf=true", ROOT, folder], check=True)
    return folder


def test_a_clone_made_on_windows_has_the_line_ends_of_unix(from_windows: Path) -> None:
    ends = subprocess.run(["git", "ls-files", "--eol"], cwd=from_windows, capture_output=True, text=True, check=True)
    assert [line for line in ends.stdout.splitlines() if "w/crlf" in line or "w/mixed" in line] == []
    done = subprocess.run(
        [from_windows / "stop.sh"], env={"PATH": "/usr/bin:/bin", "ENGINE": "none"}, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"./rebuildandrun.sh" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_in_a_folder_of_other_letters_and_a_locale_without_them_it_is_built_and_runs(tmp_path: Path) -> None:
    clone = Clone(tmp_path / "Prüfstand ä", LC_ALL="C")
    try:
        done = clone("rebuildandrun.sh", clone.port)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "UNSET" in clone("run.sh", clone.port, "start").stdout
        clone.environment["LC_ALL"] = "C.UTF-8"
        assert "status_base64" in clone("run.sh", clone.port, "status").stdout
    finally:
        assert "every job is settled" in clone("stop.sh").stdout
