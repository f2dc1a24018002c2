"""Addresses of this face: flask-smorest's blueprint, with what is sent read by our own rules."""

from __future__ import annotations

import json
from typing import Any

from flask import Request
from flask_smorest import Blueprint
from webargs import missing
from webargs.flaskparser import FlaskParser

from ..errors import InvalidParameter
from .answers import loaded


class NoJson(InvalidParameter):
    """The body isn't JSON, or holds what nobody can be told."""


class _Parser(FlaskParser):
    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = {"query": None, "json": None}  # the schemas' own: refused

    def _raw_load_json(self, req: Request) -> Any:
        if not (body := req.get_data(cache=True)):
            return missing
        try:
            return loaded(body)
        except UnicodeDecodeError:
            raise NoJson("The body can't be read: it is no UTF-8.") from None
        except json.JSONDecodeError as error:
            raise NoJson(f"The body is no JSON from line {error.lineno}, column {error.colno} on.") from None
        except ValueError as error:
            raise NoJson(f"The body can't be taken: {error}.") from None


class Addresses(Blueprint):  # type: ignore[misc]
    """Some addresses, and what they are about."""

    ARGUMENTS_PARSER = _Parser()
