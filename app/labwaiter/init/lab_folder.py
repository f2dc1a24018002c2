"""What `labwaiter init` does: a new lab's folder, of the templates in shipped/lab. It is made whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import shipped
from ..errors import Misconfigured
from ..settings import APP, ENV
from .wheel import pack

_ACTIONS = "workflows/tests.yml"  # where GitHub's form of a workflow lies, below each forge's own folder
FORGES = {
    "forgejo": ("actions.yml", f".forgejo/{_ACTIONS}"),
    "gitea": ("actions.yml", f".gitea/{_ACTIONS}"),
    "github": ("actions.yml", f".github/{_ACTIONS}"),
    "gitlab": ("gitlab-ci.yml", ".gitlab-ci.yml"),
}
ENVIRONMENT = ".venv"


@dataclass(frozen=True)
class Made:
    """What was made where, and what was there before and is left as it was: names relative to the folder."""

    folder: Path
    made: tuple[str, ...]
    left: tuple[str, ...]


def make(folder: Path, here: bool = False, forges: Sequence[str] = ()) -> Made:
    """Make a lab's folder.

    Args:
        here: it may hold files already; none of them is touched.
        forges: names of FORGES whose workflow files it shall have.

    Raises:
        Misconfigured: the name can't be, something is there already, or it can't be written. Nothing is left behind.
    """
    folder = Path(os.path.realpath(folder))
    name = folder.name
    if not name or ":" in name or not name.isprintable():  # an argument's bad bytes are surrogates: not printable
        raise Misconfigured(
            f"A lab's folder can't be named {ascii(name)}: take a name of printable letters, without colons."
        )
    try:
        if folder.is_dir():
            if not here and any(folder.iterdir()):
                raise Misconfigured(
                    f"{folder} is not empty: with --here what a lab has and it lacks is added, and no file is touched."
                )
            _refuse_half(folder)
            return _fill(folder, name, forges)
        if os.path.lexists(folder):
            raise Misconfigured(f"{folder} is there already, and no folder.")
        if not folder.parent.is_dir():
            raise Misconfigured(f"{folder.parent}, where {name} shall be made, is not there: make it first.")
        return _make_new(folder, name, forges)
    except OSError as error:
        inside = Path(error.filename) if isinstance(error.filename, str) else folder
        where = f" ({inside.relative_to(folder)})" if folder in inside.parents else ""
        raise Misconfigured(
            f"{folder} can't be made a lab: {error.strerror}{where}. Nothing was left there."
        ) from error


def _refuse_half(folder: Path) -> None:
    """Raises Misconfigured where what makes a folder a lab is there as something else: it would be none afterwards."""
    for name, right, what in ((ENV, os.path.isfile, "file"), (APP, os.path.isdir, "folder")):
        if os.path.lexists(folder / name) and not right(folder / name):
            raise Misconfigured(
                f"{folder} can't be made a lab: {name} is there, and no {what}."
                " Give that another name, and say it again."
            )


def _make_new(folder: Path, name: str, forges: Sequence[str]) -> Made:
    """Make it beside its place first: whoever looks sees all of it or nothing."""
    beside = Path(tempfile.mkdtemp(prefix=".labwaiter-init-", dir=folder.parent))
    try:
        made = _fill(beside, name, forges)
        umask = os.umask(0)
        os.umask(umask)
        beside.chmod(0o777 & ~umask)
        beside.rename(folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return Made(folder, made.made, made.left)


def _fill(folder: Path, name: str, forges: Sequence[str]) -> Made:
    """Add what it lacks; what was added is taken away again where that can't be done."""
    made: list[Path] = []
    left: list[str] = []
    try:
        for file, content in _files(name, forges).items():
            target = folder / file
            for parent in reversed(target.parents):
                if parent.is_relative_to(folder) and not parent.is_dir():
                    parent.mkdir()
                    made.append(parent)
            try:
                descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _mode(file))
            except FileExistsError:
                left.append(file)
                continue
            made.append(target)
            with open(descriptor, "wb") as out:
                out.write(content)
        if forges:  # they install it from there: it need not be published
            wheels = folder / "wheels"
            if there := sorted(wheels.glob("labwaiter-*.whl")):
                left += [f"wheels/{wheel.name}" for wheel in there]
            else:
                made += [] if wheels.is_dir() else [wheels]
                wheels.mkdir(exist_ok=True)
                made.append(pack(wheels))
        if (environment := _environment(folder)) is not None:
            if os.path.lexists(folder / ENVIRONMENT):
                left.append(ENVIRONMENT)
            else:
                (folder / ENVIRONMENT).symlink_to(environment)
                made.append(folder / ENVIRONMENT)
    except BaseException:
        for path in reversed(made):
            with contextlib.suppress(OSError):
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        raise
    return Made(folder, tuple(str(p.relative_to(folder)) for p in made if p.is_symlink() or p.is_file()), tuple(left))


def _files(name: str, forges: Sequence[str]) -> dict[str, bytes]:
    """What a lab's folder has, by name: the templates with the lab's own name in them."""
    templates = shipped.FOLDER / "lab"
    found = [path for path in sorted(templates.rglob("*")) if path.is_file() and path.parent.name != "__pycache__"]
    files = {path.relative_to(templates).as_posix().replace("dot_", "."): path for path in found}
    files |= {FORGES[forge][1]: shipped.FOLDER / "forges" / FORGES[forge][0] for forge in forges}
    words = {b"LAB_NAME": name.encode(), b"LAB_HOST": host(name).encode()}
    return {
        file: re.sub(rb"LAB_NAME|LAB_HOST", lambda found: words[found[0]], path.read_bytes())
        for file, path in files.items()
    }


def host(name: str) -> str:
    """A lab's name as its container and its services' namespaces have it; shipped/scripts/engine.sh keeps that rule."""
    return re.sub(rb"[^a-z0-9]+", b"-", name.encode().lower()).strip(b"-").decode() or "lab"


def _mode(file: str) -> int:
    return 0o777 if file.endswith(".sh") or file == "test_client/client.py" else 0o666


def _environment(folder: Path) -> Path | None:
    """The environment that the lab's scripts shall use; None: it is there already, or there is none to be linked."""
    if sys.prefix == sys.base_prefix:
        return None  # that Python's labwaiter is on the PATH
    environment = Path(os.path.realpath(sys.prefix))
    return None if environment == Path(os.path.realpath(folder / ENVIRONMENT)) else environment
