"""Make the pictures of the documents anew, by headless Chromium: of the tutorial's story, and of the page.

.venv/bin/python docs/pictures.py [tutorial | page]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / each) for each in ("app", "tests", "tests/docs", "tests/operator_page")]

import blocks  # noqa: E402
from PIL import Image  # noqa: E402
from the_bench import LAB, services  # noqa: E402

import browser  # noqa: E402
from callers import Web  # noqa: E402
from lab import Lab, eventually  # noqa: E402
from labwaiter.model.caller import SHELL, administrator  # noqa: E402
from labwaiter.verbs.instruments import Instruments  # noqa: E402

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


# picture → page, width, height, whether it is a phone, and which colours
PAGES = {
    "page-overview": ("", 1100, 700, False, "light"),
    "page-execution": ("operator/execution?id={sweep}", 1100, 900, False, "light"),
    "page-execution-dark": ("operator/execution?id={sweep}", 1100, 900, False, "dark"),
    "page-lab-dark": ("operator/lab", 1100, 500, False, "dark"),
    "page-phone": ("operator/lab", 390, 760, True, "light"),
    "page-phone-dark": ("", 390, 760, True, "dark"),
}
SWEEP = "iv-curve-7"
PAGE_COLOURS = 64


def main() -> None:
    """Take those that are asked for, or all."""
    asked = sys.argv[1:] or ["tutorial", "page"]
    if "tutorial" in asked:
        tutorial()
    if "page" in asked:
        page()


def page() -> None:
    """Those of the operator's page: a lab that measures, prints and waits."""
    with tempfile.TemporaryDirectory(prefix="labwaiter-pictures-") as temporary:
        folder = Path(temporary)
        (folder / "lab.toml").write_text(LAB)
        offered = services(folder / "services")
        (offered / "hostile.py").unlink()
        lab = Lab(folder / "jobs", offered, LAB=str(folder / "lab.toml"), TOKENS="")
        lab.supervise()
        web = Web(lab)
        try:
            sweep = {"sourceMeter": "meter", "startVolts": -2, "stopVolts": 2, "points": 2000, "settleSeconds": 0.05}
            known = {p.name for p in lab.services["Sweep"].inputs}
            lab.start("Sweep", SWEEP, **{name: value for name, value in sweep.items() if name in known})
            lab.start("Talker", "count-the-parts", words="ready")
            eventually(lambda: lab.jobs.record("count-the-parts", SHELL).started)
            lab.start("Sweep", "iv-curve-8", **{name: value for name, value in sweep.items() if name in known})
            for number, words in enumerate(("one", "two")):
                lab.start("Talker", f"parts-{number}", words=words)
                eventually(lambda number=number: lab.jobs.record(f"parts-{number}", SHELL).started)
                lab.jobs.notify(None, f"parts-{number}", "go", SHELL)
            eventually(lambda: lab.jobs.view(SWEEP, SHELL).progress.fraction, every=0.2)
            record = folder / "jobs" / SWEEP / "data" / "record.csv"
            eventually(lambda: record.exists() and record.read_text().count("\n") > 200, every=0.5)
            Instruments(lab.settings).reserve("printer", 3600, administrator("Ada"))
            with browser.browser(folder / "profile") as chromium:
                for name, (path, width, height, phone, scheme) in PAGES.items():
                    window = chromium.window(width, height, phone=phone, scale=1.5 if phone else 1)
                    window.show()
                    window.colours(scheme)
                    window.go(f"{web.url}/{path.format(sweep=SWEEP)}")
                    window.evaluate(USUAL_PORT.format(port=web.port))
                    keep(window, HERE / "pictures" / f"{name}.png", whole=not phone, colours=PAGE_COLOURS)
        finally:
            web.close()
            lab.close()


def tutorial() -> None:
    """Those of docs/tutorial.md."""
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


def keep(window: browser.Window, picture: Path, whole: bool = True, colours: int = COLOURS) -> None:
    """Take one, as high as its page, or as its window."""
    window.picture(picture, whole=whole)
    Image.open(picture).convert("RGB").quantize(colours).save(picture, optimize=True)
    print(f"{picture.relative_to(HERE.parent)}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
