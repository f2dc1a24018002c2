"""What `watch` shows: one line with a bar in a terminal, a line per change elsewhere."""

from __future__ import annotations

import re
import sys
import time
from html import unescape
from pathlib import Path

import click

WIDTH = 30  # characters of the bar


class Watch:
    """The progress of one execution, read off its status pages."""

    def __init__(self, page: Path) -> None:
        self.page = page
        self._began = time.monotonic()
        self._printed = ""
        self._open_line = False
        self._saved: bool | None = None  # the page, at the last try

    def show(self, page: bytes) -> None:
        """Save the page, and say what it says of the progress."""
        self._save(page)
        text = page.decode("utf-8", "replace")
        percent = re.search(r'aria-valuenow="(\d{1,3})"', text)
        words = _element(text, "stage") or ("" if percent else _element(text, "state"))
        if not sys.stdout.isatty():
            line = f"{percent[1]:>3} %  {words}".rstrip() if percent else words
            if line != self._printed:
                click.echo(line)
                self._printed = line
            return
        done = int(percent[1]) if percent else 0
        bar = "█" * (WIDTH * done // 100)
        shown = f"{done:3} %" if percent else "  ? %"
        waited = int(time.monotonic() - self._began)
        click.echo(f"\r\033[K[{bar:<{WIDTH}}] {shown}  {waited} s  {words[:60]}", nl=False)
        self._open_line = True

    def _save(self, page: bytes) -> None:
        try:
            self.page.write_bytes(page)
            if self._saved is None:
                click.echo(f"The page, anew at each poll: {self.page}")
            self._saved = True
        except OSError as error:  # that is no reason not to watch on
            if self._saved is not False:
                click.echo(f"The page can't be saved as {self.page}: {error.strerror}.", err=True)
            self._saved = False

    def done(self, word: str) -> None:
        """End the line; say where the last page lies."""
        if self._open_line:
            click.echo()
        if word:
            click.echo(word)
        if self._saved:
            click.echo(f"The last page: {self.page}")  # as it was named: a container's own path helps nobody


def _element(page: str, css_class: str) -> str:
    """The text of the first element of a class; "" in pages that have none."""
    match = re.search(rf'class="{css_class}"[^>]*>(.*?)</', page, re.S)
    return unescape(re.sub(r"<[^>]*>", " ", match[1])).strip() if match else ""
