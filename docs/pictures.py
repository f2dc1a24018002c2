"""Make the pictures of docs/tutorial.md anew: its story is run, and headless Chromium looks at what it made.

.venv/bin/python docs/pictures.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "tests"), str(HERE.parent / "tests" / "docs")]

import blocks  # noqa: E402
from PIL import Image  # noqa: E402

import browser  # noqa: E402

# what stands in a block → the picture that is taken after it: of an address of the deployment, or of a file of the lab;
# and how high it is at least, in CSS pixels
PICTURES = {
    "labwaiter init": ("services", "http://127.0.0.1:{port}/sintef/docker_services/", 450),
    "ENOUGH\n": ("running", "drift.html", 700),
    "./run.sh abort": ("aborted", "drift.html", 700),
    "labwaiter workflow": ("workflow", "both.page.html", 600),
}
WIDTH = 800
USUAL_PORT = "document.querySelectorAll('a').forEach(a => a.textContent = a.textContent.replace(':{port}/', ':8080/'))"
COLOURS = 48  # enough for text and a plot, and a third of the bytes


def main() -> None:
    """Take each."""
    with tempfile.TemporaryDirectory(prefix="labwaiter-pictures-") as temporary:
        story = blocks.Story("docs/tutorial.md", Path(temporary, "story"))
        try:
            with browser.browser(Path(temporary, "profile")) as chromium:
                for block in story.run():
                    for word, (name, seen, height) in PICTURES.items():
                        if word in block.text and block.kind == "shell":
                            address = seen.format(port=story.port) if ":" in seen else (story.at / seen).as_uri()
                            window = chromium.window(WIDTH, height)
                            window.go(address)
                            window.evaluate(USUAL_PORT.format(port=story.port))
                            keep(window, HERE / "pictures" / f"{name}.png")
        finally:
            story.end()


def keep(window: browser.Window, picture: Path) -> None:
    """Take one, as high as its page."""
    window.picture(picture, whole=True)
    Image.open(picture).convert("RGB").quantize(COLOURS).save(picture, optimize=True)
    print(f"{picture.relative_to(HERE.parent)}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
