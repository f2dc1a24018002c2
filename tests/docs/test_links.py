"""Every link between the documents leads somewhere, to its very section, and every page is in the site's lists."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blocks import prose

from here import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def sections(document: Path) -> set[str]:
    """The anchors of its headings, as forges make them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.*?)$", prose(document), re.M):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).lower()).replace(" ", "-")
        number = 0
        while (name := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(name)
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_every_link_leads_to_what_there_is(document: Path) -> None:
    for target in LINK.findall(re.sub(r"`[^`\n]*`", "", prose(document))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, section = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.exists() and path.is_relative_to(ROOT), f"{target}: there is no such file"
        if section:
            assert section in sections(path), f"{target}: {path.name} has no such section"


def test_every_page_is_in_the_lists_of_the_site() -> None:
    project = tomllib.loads((ROOT / "docs" / "site" / "zensical.toml").read_text())["project"]

    def pages(nav: Any) -> Iterator[str]:
        if isinstance(nav, str):
            yield nav
        for one in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
            yield from pages(one)

    listed = list(pages(project["nav"]))
    own = {"index.md", "changelog.md", "guide.md", "decisions/index.md"}
    of_docs = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert len(listed) == len(set(listed))
    assert {page for page in listed if not page.startswith("api/")} == own | of_docs
