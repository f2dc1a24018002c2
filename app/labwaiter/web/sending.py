"""Files that executions have made, as answers; and what no answer of a person's face goes without."""

from __future__ import annotations

import mimetypes
import os
from pathlib import Path

from flask import Request, Response, send_file
from werkzeug.routing import PathConverter

from ..page.words import printable
from ..store.artifacts import text_of_name
from ..verbs import Jobs

# what a browser may show in its window; all else is downloaded. None of it may run (see `guarded`).
_SHOWN = ("image/", "text/plain", "text/csv", "application/pdf", "application/json", "video/", "audio/")
_TEXTS = {".gcode": "text/plain", ".log": "text/plain", ".toml": "text/plain", ".md": "text/plain"}


class FileName(PathConverter):
    """As `path`, and a line break may be in it: programs name files as they like."""

    regex = r"(?s:[^/].*?)"


def named_in(request: Request, slashes: int) -> str:
    """The name of a file, which is what comes in a request's path behind so many slashes: its own bytes."""
    # what is no UTF-8 is lost in what Flask makes of them
    raw = request.environ["PATH_INFO"].encode("latin-1").decode("utf-8", "surrogateescape")
    name: str = raw.split("/", slashes)[slashes]
    return name


def sent(jobs: Jobs, path: Path) -> Response | None:
    """A file that an execution has made; None where it has gone under the look."""
    kind = _TEXTS.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    try:
        opened = jobs.artifacts.open(path)
    except OSError:
        return None
    try:
        status = os.fstat(opened)
        return send_file(
            f"/proc/self/fd/{opened}",  # this one, whatever has come into its place
            mimetype=kind,
            as_attachment=not kind.startswith(_SHOWN),
            download_name=" ".join(printable(text_of_name(path.name)).split()),  # no header carries a line break
            etag=f"{status.st_mtime_ns:x}-{status.st_size:x}",  # its own is made of the path, as UTF-8
        )
    except OSError:
        return None
    finally:
        os.close(opened)


def guarded(answer: Response) -> Response:
    """An answer with the headers of them all: what a job made is a stranger's.

    In a browser it may not run, nor tell a link's key to others.
    """
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Referrer-Policy"] = "no-referrer"
    answer.headers.setdefault(
        "Content-Security-Policy",
        "sandbox allow-popups; default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'",
    )
    return answer
