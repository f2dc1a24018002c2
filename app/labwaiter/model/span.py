"""A time span, and a number of bytes, in words: on pages, in a terminal, in the sentence that says why a job ended."""

from __future__ import annotations

_UNITS = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


def span(seconds: float) -> str:
    """3.5 s, 45 s, 3 min 5 s, 90 min as 1 h 30 min, 3 d: two units at most, as one reads them at a glance."""
    if seconds < 10:
        return f"{max(0.0, round(seconds, 1)):g} s"  # a clock may have been set back
    whole = int(seconds)
    for size, unit, smaller, name in _UNITS:
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {name}" if rest else "")
    return f"{whole} s"


def size(count: int) -> str:
    """A number of bytes as people read it: 312 B, 4.2 kB, 1.3 MB."""
    number = float(count)
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"
