"""Service files that note each time they are imported."""

from __future__ import annotations

from pathlib import Path

from labwaiter.catalogue import catalogue

NOTED = '''
from pathlib import Path
from labwaiter import Job, Outputs, service

with open({count!r}, "a") as noted:
    noted.write("{name}\\n")

class Result(Outputs):
    result: str

@service("{name}", namespace="http://samples.example/"{more})
def start{name}(job: Job, word: str = "{word}") -> Result:
    """Say a word."""
    return Result(result=word)
'''


class Shelf:
    """A services folder, a deployment's cache beside it, and how often each of its files was imported."""

    def __init__(self, root: Path) -> None:
        self.folder, self.count = root / "services", root / "count"
        self.cache = catalogue.cache_of(root / "jobs")
        self.folder.mkdir()
        self.cache.parent.mkdir(parents=True)

    def write(self, name: str, word: str = "hello", before: str = "", more: str = "") -> Path:
        """A service's file."""
        file = self.folder / f"{name.lower()}.py"
        file.write_text(before + NOTED.format(count=str(self.count), name=name, word=word, more=more))
        return file

    def kept(self) -> catalogue.WatchedCatalogue:
        """The services as another process has them."""
        return catalogue.WatchedCatalogue(self.folder, self.cache)

    def imports(self, name: str) -> int:
        """How often."""
        return self.count.read_text().splitlines().count(name) if self.count.exists() else 0
