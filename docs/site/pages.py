"""The documents as the pages of a site, which zensical makes HTML of: docs/build calls it.

    python docs/site/pages.py FOLDER     makes FOLDER/site of README.md, docs/, CHANGELOG.md and the docstrings

README.md is the front page. What the documents link to in the repository (a configuration, a test) gets a page, too, so
that no link leads out of the site. Comments are left out: they are for those who read the documents' source.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
RENAMED = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "docs/README.md": "guide.md"}
# the page of an API → the module whose `__all__` it tells, and what is left to another page
MODULES = {
    "labwaiter": ("labwaiter", {"Client"}),
    "client": ("labwaiter.client", set[str]()),
    "instruments": ("labwaiter.instruments", set[str]()),
    "drivers": ("labwaiter.instruments.drivers", set[str]()),
    "simulators": ("labwaiter.instruments.simulators", {"KINDS"}),
    "testing": ("labwaiter.testing", set[str]()),
}
LINK = re.compile(r"(!?\[(?:[^\]`]|`[^`]*`)*\])\(([^)\s]+)\)")
FENCE = re.compile(r"^ *(`{3,}).*?^ *\1 *$", re.M | re.S)
COMMENT = re.compile(r"^ *<!--.*?--> *\n", re.M | re.S)


def documents() -> list[Path]:
    """The documents that are pages, README first."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def page_of(path: Path) -> str:
    """The page, by its name in the site, on which a document or another file or folder of the repository stands."""
    name = path.relative_to(ROOT).as_posix()
    if path == ROOT / "docs" / "decisions":
        return "decisions/index.md"
    if path in documents():
        return RENAMED.get(name, name.removeprefix("docs/"))
    if path.is_relative_to(ROOT / "docs" / "pictures"):
        return name.removeprefix("docs/")
    return f"source/{name}.md"


def title_of(document: Path) -> str:
    """Its heading."""
    return re.sub(r"^# (\d+[.:] )?", "", document.read_text(encoding="utf-8").partition("\n")[0])


def outside_of_code(text: str) -> Iterator[tuple[bool, str]]:
    """A document in pieces: whether one is prose, and its text."""
    at = 0
    for fence in FENCE.finditer(text):
        yield True, text[at : fence.start()]
        yield False, fence[0]
        at = fence.end()
    yield True, text[at:]


def in_lists(text: str, prose: bool) -> str:
    """A piece whose parts of lists are where Python-Markdown wants them: four spaces in, behind an empty line."""
    if prose:
        text = re.sub(r"(?<=\n\n) {2,3}(?=[^ ])", "    ", text)
        text = re.sub(r"^(    [^ ].*\n(?:(?![-*] |\d+\. ).+\n)*)(?=[-*] |\d+\. )", r"\1\n", text, flags=re.M)
        return re.sub(r"^((?![-*] |\d+\. | |\n|\|).+\n)(?=[-*] |1\. )", r"\1\n", text, flags=re.M)
    indent = len(text) - len(text.lstrip(" "))
    return textwrap.indent(text, " " * (4 - indent)) if 1 < indent < 4 else text


class Site:
    """The pages, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.linked: set[Path] = set()  # what isn't a document

    def make(self) -> None:
        """Write all of them."""
        for document in documents():
            self.write(page_of(document), self.page(document))
        for path in sorted(self.linked):
            self.write(page_of(path), source_page(path))
        self.write("decisions/index.md", decisions())
        for name, (module, elsewhere) in MODULES.items():
            self.write(f"api/{name}.md", reference(module, elsewhere))
        (self.folder / "assets").mkdir()
        shutil.copy(HERE / "iframe-worker.js", self.folder / "assets")
        if (ROOT / "docs" / "pictures").is_dir():
            shutil.copytree(ROOT / "docs" / "pictures", self.folder / "pictures")

    def write(self, page: str, text: str) -> None:
        """Put a page there."""
        (self.folder / page).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / page).write_text(text, encoding="utf-8")

    def page(self, document: Path) -> str:
        """A document, its links leading to pages."""
        pieces = outside_of_code(document.read_text(encoding="utf-8"))
        linked = ((prose, self.relinked(COMMENT.sub("", text), document) if prose else text) for prose, text in pieces)
        return "".join(in_lists(text, prose) for prose, text in linked)

    def relinked(self, text: str, document: Path) -> str:
        """Prose whose links lead from its page to pages."""

        def link(found: re.Match[str]) -> str:
            target, mark, anchor = found[2].partition("#")
            if not target or "://" in target or target.startswith("mailto:"):
                return found[0]
            path = (document.parent / target).resolve()
            if not path.exists():
                raise SystemExit(f"{document.relative_to(ROOT)} links to {target}, which there is not.")
            page = page_of(path)
            if page.startswith("source/"):
                self.linked.add(path)
            way = os.path.relpath(page, Path(page_of(document)).parent)
            words = f"[{title_of(path)}]" if re.fullmatch(r"\[`?[\w./-]+\.md`?\]", found[1]) else found[1]
            return f"{words}({way}{mark}{anchor})"

        return LINK.sub(link, text)


def source_page(path: Path) -> str:
    """A file of the repository, or the files of a folder, as they are."""
    name = path.relative_to(ROOT).as_posix()
    files = [file for file in sorted(path.rglob("*")) if file.is_file()] if path.is_dir() else [path]
    text = f"# {name}\n"
    for file in files:
        kind = {".py": "python", ".toml": "toml", ".yaml": "yaml", ".conf": "nginx"}.get(file.suffix, "")
        if len(files) > 1:
            text += f"\n## {file.relative_to(path)}\n"
        text += f"\n````{kind}\n{file.read_text(encoding='utf-8').rstrip()}\n````\n"
    return text


def decisions() -> str:
    """The page that lists the decisions."""
    text = "# Decisions\n\nWhat was decided, what was weighed, and when it should be thought of again.\n\n"
    for file in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        text += f"- {file.name[:4]}: [{title_of(file)}]({file.name})\n"
    return text


def reference(module: str, elsewhere: set[str]) -> str:
    """The page of a module: what it says of itself, and each name that it exports."""
    place = ROOT.joinpath("app", *module.split("."))
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    )
    told = "\n\n".join(f"::: {module}.{name}" for name in names if name not in elsewhere)
    return f"# {module}\n\n{ast.get_docstring(tree)}\n\n{told}\n"


def build(out: Path) -> None:
    """Make the site in `out`, which is replaced once it is whole. A warning is an error."""
    with tempfile.TemporaryDirectory(prefix="labwaiter-docs-") as temporary:
        work = Path(temporary)
        Site(work / "pages").make()
        (work / "app").symlink_to(ROOT / "app")
        shutil.copy(HERE / "zensical.toml", work)
        command = [sys.executable, "-m", "zensical", "build", "--strict"]
        done = subprocess.run(command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        print(done.stdout, end="", flush=True)
        if done.returncode or "griffe:" in done.stdout:  # what it says of docstrings is no warning of zensical's
            raise SystemExit("The site was not built; above is why.")
        shutil.rmtree(out, ignore_errors=True)
        shutil.move(work / "site", out)


if __name__ == "__main__":
    build(Path(sys.argv[1]).resolve())
