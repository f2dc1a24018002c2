"""A lab's page by a template of its own: `app/labs/NAME/PAGE`, and the files of `app/labs/NAME/static/`.

It is made in Jinja's sandbox, so that a page can show what a session is, and reach nothing else of the web worker. It
gets what ours gets (docs/labs.md), and may extend ours: `{% extends "session.html.j2" %}`.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from flask import current_app
from jinja2 import ChoiceLoader, FileSystemLoader, TemplateError, TemplateNotFound
from jinja2.sandbox import SandboxedEnvironment

from ...errors import Unavailable
from .. import wording


class OwnTemplates:
    """The templates of all labs of a deployment. Thread-safe."""

    def __init__(self, labs: Path) -> None:
        self._labs = labs
        self._turn = threading.Lock()
        self._made: dict[str, SandboxedEnvironment] = {}

    def rendered(self, file: str, lab: str, values: dict[str, Any]) -> str:
        """A page. Raises Unavailable: there is no such template, or it has a mistake; the message says where."""
        try:
            return self._environment(lab).get_template(file).render(values)
        except TemplateNotFound as error:
            raise Unavailable(f"The page of this lab can't be made: there is no template {error.name}.") from error
        except TemplateError as error:
            line = getattr(error, "lineno", None)
            where = f", line {line}" if line else ""
            raise Unavailable(f"The page of this lab can't be made: {file}{where}: {error.message}.") from error
        except Exception as error:  # its own code's: a division, a missing name of a name
            raise Unavailable(f"The page of this lab can't be made: {file}: {type(error).__name__}.") from error

    def _environment(self, lab: str) -> SandboxedEnvironment:
        with self._turn:
            if lab not in self._made:
                ours = current_app.jinja_env
                loader = ChoiceLoader([FileSystemLoader(self._labs / lab), *([ours.loader] if ours.loader else [])])
                made = SandboxedEnvironment(loader=loader, autoescape=True, auto_reload=True, trim_blocks=True)
                made.lstrip_blocks = True
                wording.install(made)
                made.globals |= ours.globals
                made.filters |= ours.filters
                self._made[lab] = made
            return self._made[lab]
