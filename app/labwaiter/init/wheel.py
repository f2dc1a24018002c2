"""The wheel that this environment's labwaiter was installed from, made anew of what is installed.

An image then has the very labwaiter that its lab was tried with, and nothing has to be published. Of an editable
install it holds the source as it is now, with the metadata of when it was installed.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import os
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from ..errors import Misconfigured

NAME = "labwaiter"
PACKAGE = Path(__file__).resolve().parents[1]
_OF_THE_INSTALLATION = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same content is the same file: an engine builds nothing anew for it


def pack(folder: Path) -> Path:
    """Write it into a folder, which is made if it isn't there; a wheel of another labwaiter there is removed.

    Raises:
        Misconfigured: labwaiter runs from a source that isn't installed, or files of its installation are missing.
        OSError: it can't be written there.
    """
    name, content = _wheel()
    folder.mkdir(exist_ok=True)
    wheel = folder / name
    with contextlib.suppress(FileNotFoundError):
        if wheel.read_bytes() == content:
            return wheel
    descriptor, beside = tempfile.mkstemp(prefix=".", dir=folder)
    try:
        with open(descriptor, "wb") as out:
            out.write(content)
        os.chmod(beside, 0o644)
        os.rename(beside, wheel)
    except BaseException:
        os.unlink(beside)
        raise
    for other in folder.glob(f"{NAME}-*.whl"):
        if other != wheel:
            other.unlink()
    return wheel


def _wheel() -> tuple[str, bytes]:
    """Its name and its bytes."""
    installed = next((one for one in distributions(name=NAME) if one.read_text("WHEEL")), None)
    if installed is None:
        raise Misconfigured("labwaiter runs from a source that is not installed: install it (pip install …) first.")
    info = f"{NAME}-{installed.version}.dist-info"
    record = io.StringIO()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(_files(installed, info)):
            try:
                content, mode = path.read_bytes(), path.stat().st_mode
            except OSError as error:
                raise Misconfigured(
                    f"labwaiter's installation is not whole: {path} can't be read ({error.strerror}). Install it again."
                ) from error
            _add(archive, name, content, 0o755 if mode & 0o100 else 0o644)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.write(f"{name},sha256={digest},{len(content)}\n")
        _add(archive, f"{info}/RECORD", f"{record.getvalue()}{info}/RECORD,,\n".encode(), 0o644)
    tags = [line.partition(":")[2].strip() for line in (installed.read_text("WHEEL") or "").splitlines()]
    tag = next(tag for tag in tags if tag.count("-") == 2)
    return f"{NAME}-{installed.version}-{tag}.whl", out.getvalue()


def _files(installed: Distribution, info: str) -> Iterator[tuple[str, Path]]:
    """What goes into it, by its name there: the modules at its top level, and what is said of it."""
    top = (installed.read_text("top_level.txt") or "").split()
    ours = {*top, *(f"{name}.py" for name in top)}
    for file in installed.files or ():
        is_said = file.parts[0] == info and file.parts[1] not in _OF_THE_INSTALLATION
        if (file.parts[0] in ours or is_said) and file.suffix != ".pyc":
            yield file.as_posix(), Path(str(installed.locate_file(file)))
    if any(file.name.startswith("__editable__") for file in installed.files or ()):  # what it has lies elsewhere
        source = PACKAGE.parent
        for path in (*source.glob("*.py"), *(file for name in top for file in (source / name).rglob("*"))):
            name = path.relative_to(source)
            hidden = any(part.startswith((".", "__pycache__")) for part in name.parts)
            if name.parts[0] in ours and path.is_file() and not hidden:
                yield name.as_posix(), path


def _add(archive: zipfile.ZipFile, name: str, content: bytes, mode: int) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = (stat.S_IFREG | mode) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, content)
