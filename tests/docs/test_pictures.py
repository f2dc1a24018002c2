"""docs/pictures.py: each picture of the tutorial is one that it makes, after a block that is there."""

from __future__ import annotations

import importlib.util
import re

from blocks import of

from here import ROOT


def test_each_picture_is_made_after_one_block() -> None:
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs" / "pictures.py")
    assert spec is not None and spec.loader is not None
    pictures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    for word in pictures.PICTURES:
        assert len(of("docs/tutorial.md", "shell", word)) == 1, word
    made = {f"{name}.png" for name, *_ in pictures.PICTURES.values()}
    shown = re.findall(r"\(pictures/(.*?)\)", (ROOT / "docs" / "tutorial.md").read_text())
    # those of the operator's page are taken by hand
    others = (ROOT / "docs" / "operator-page.md").read_text() + (ROOT / "README.md").read_text()
    by_hand = set(re.findall(r"\((?:docs/)?pictures/(.*?)\)", others))
    assert set(shown) == made == {file.name for file in (ROOT / "docs" / "pictures").iterdir()} - by_hand
    assert all(file.stat().st_size < 60_000 for file in (ROOT / "docs" / "pictures").iterdir())
