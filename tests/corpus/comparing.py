"""What differs between a run on this machine without us and an execution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ways import Came, Corpus

PRINTED_MAX = 100_000  # bytes: what job.run gives of what was printed


def differences(plain: Came, other: Came) -> list[str]:
    """What is not as it is without us, a line each."""
    told = []
    for name in ("status", "printed", "files", "result"):
        wanted, got = getattr(plain, name), getattr(other, name)
        if wanted != got:
            told.append(f"{name}: {short(got)} instead of {short(wanted)} ({other.why})")
    return told


def short(what: object) -> str:
    text = repr(what)
    return text if len(text) < 1500 else f"{text[:700]} … {text[-700:]}"


def of_run(plain: Came, other: Came) -> Came:
    """As it is compared: where `job.run` raises, its traceback stands in the log, behind what was printed."""
    if plain.status and other.printed.startswith(plain.printed) and b"JobFailed" in other.printed:
        return replace(other, printed=plain.printed)
    return other


def printed_by_run(corpus: Corpus, service_id: str, plain: Came, tidy: Callable[[bytes], bytes]) -> list[str]:
    """What is wrong with the text that job.run gave: it is the last part of what was printed."""
    folder = corpus.lab.folder(service_id)
    kept = folder / "printed.txt"
    if not kept.exists():
        return ["job.run gave nothing"]
    wanted = plain.printed[-PRINTED_MAX:].decode("utf-8", "replace")
    text = kept.read_bytes().decode("utf-8", "surrogatepass").replace(str(folder), "<job>")
    given = tidy(text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")
    return [] if given == wanted else [f"job.run gave {short(given)} instead of {short(wanted)}"]
