"""The page for who may not come in, or can't have what was asked for: ours, or the deployment's own."""

from __future__ import annotations

import logging
import time

from flask import Response, render_template, request
from jinja2 import TemplateError
from jinja2.sandbox import SandboxedEnvironment

from ... import __version__
from ...settings import Settings
from ..wording import language

log = logging.getLogger("labwaiter.web")
LARGEST = 1_000_000  # characters of a template


def common() -> dict[str, object]:
    """What every template needs of its reader's language."""
    return {"language": language(), "span_units": " ".join(language().units("d", "h", "min", "s"))}


class Forbidden:
    """These pages."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # what such a page needs stands in it: it has its own style sheet or none, and no way to files
        self._own = SandboxedEnvironment(autoescape=True)

    def page(self, words: str, code: int, at: str, is_out: bool) -> Response:
        """One of them.

        Args:
            at: the lab's path, as the browser sees it.
            is_out: it is for who has no session in the lab.
        """
        values = {"words": words, "code": code, "at": at, "is_out": is_out, "version": __version__, "now": time.time()}
        values |= {**common(), "lab": request.path.split("/")[1], "said": None}
        html = self._of_deployment(values) if is_out else None
        if html is None:
            html = render_template("forbidden.html.j2", **values)
        return Response(html, code, content_type="text/html; charset=utf-8")

    def _of_deployment(self, values: dict[str, object]) -> str | None:
        """The deployment's own page; None where there is none, or it can't be made."""
        file = self._settings.weblab_unauthorized_template
        if file is None:
            return None
        try:
            return self._own.from_string(file.read_text(encoding="utf-8")[:LARGEST]).render(values)
        except (OSError, UnicodeDecodeError) as error:
            log.error("WEBLAB_UNAUTHORIZED_TEMPLATE can't be read: %s", error)
        except (TemplateError, ArithmeticError, TypeError, ValueError, AttributeError, LookupError) as error:
            log.error("WEBLAB_UNAUTHORIZED_TEMPLATE can't be made into a page: %s", error)
        return None
