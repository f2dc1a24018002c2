"""A moment of the past, as people write it at a shell."""

from __future__ import annotations

import datetime
import re
import time

import click

from ..model.sentences import plain

_AGO = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h|d|w)")
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_CLOCK = re.compile(r"\d{1,2}:\d\d(:\d\d)?")


class When(click.ParamType):  # type: ignore[type-arg]  # which only a newer click takes
    """So long ago (90 s, 15min, 2h, 3d, 1w), a time of today (14:30), a day or a moment (2026-11-30, 2026-11-30 14:30).

    Gives a Unix time in s. What names no time zone is of this machine's.
    """

    name = "when"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        text = value.strip()
        if ago := _AGO.fullmatch(text):
            return time.time() - float(ago[1]) * _SECONDS[ago[2]]
        try:
            if _CLOCK.fullmatch(text):
                text = f"{datetime.date.today()}T{text if text[2] == ':' else f'0{text}'}"
            return datetime.datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError):
            said = f"“{plain(text, 60)}” is no time"
            self.fail(f"{said}: write 90s, 15min, 2h, 3d, 14:30, 2026-11-30 or 2026-11-30T14:30.", param, ctx)
