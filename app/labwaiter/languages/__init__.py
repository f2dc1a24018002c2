"""The languages of pages for people: messages, and numbers, times and spans as each writes them.

What a page says itself is marked `_()` where it stands, and looked up by its English text. What comes from below the
faces (errors, why a job ended, who has an instrument) is an English sentence, also in files of earlier releases and
from other machines: `Language.told` knows it again by the messages of the context `SENTENCE` and says it otherwise.
The catalogues lie beside this file; `tests/catalogues.py` makes and checks them.
"""

from __future__ import annotations

import gettext
import re
import time
from functools import cache, lru_cache
from importlib import resources

from ..model.span import size, span

NAMES = {"en": "English", "de": "Deutsch", "es": "Español", "ru": "Русский"}  # in itself
SOURCE = "en"  # what messages are written in: it has no catalogue
SENTENCE = "sentence"  # the context of messages that come from below the faces
# values of sentences that may be sentences or words of ours themselves, and so are told likewise
WITHIN = frozenset(
    (
        "action",
        "article",
        "failure",
        "far",
        "goes_on",
        "got",
        "kinds",
        "limits",
        "mistake",
        "names",
        "reason",
        "service",
    )
    + ("since", "state", "subject", "why", "words", "wrong")
)
# of these a sentence is one of ours only where they are, too: a program of anybody's may say “x must be y, not z.”
CERTAIN = frozenset(("article", "limits"))
# values of these names are times and sizes as English has them
MEASURES = frozenset(("as_of", "at", "more_size", "most_size", "own_size", "seen", "since", "size", "span", "until"))
# values that are numbers, mostly with a unit
NUMBERS = frozenset(("default", "edge", "high", "least", "low", "most", "now"))
SURE = 8  # letters that a sentence has of its own: with fewer, what stands in its places has to be known, too
DEPTH = 3  # sentences within sentences
_DATE = {"de": "%d.%m.%Y, %H:%M:%S", "es": "%d/%m/%Y, %H:%M:%S", "ru": "%d.%m.%Y, %H:%M:%S"}
_DATE_ISO = "%Y-%m-%d %H:%M:%S"
_UNITS = {"ru": {"d": "д", "h": "ч", "min": "мин", "s": "с", "B": "Б", "kB": "кБ", "MB": "МБ", "GB": "ГБ"}}
_QUOTES = {"de": ("„", "“"), "es": ("«", "»"), "ru": ("«", "»")}
_POINT = re.compile(r"(?<=[0-9])\.(?=[0-9])")
_MEASURE = re.compile(r"([0-9]+)(\.[0-9]+)? (d|h|min|s|B|kB|MB|GB)\b")
_TIME = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2}) ([0-9]{2}:[0-9]{2}:[0-9]{2})")
_PLACE = re.compile(r"%\((\w+)\)s")
_DECIMAL = re.compile(r"[+-]?[0-9]+\.[0-9]+(?:e[+-]?[0-9]+)?")


class _Sentence:
    """An English sentence with places for values: how one is known again."""

    def __init__(self, message: str) -> None:
        parts = _PLACE.split(message)
        self.fixed, self.names = parts[::2], parts[1::2]
        self.weight = sum(map(str.isalpha, "".join(self.fixed)))  # the more is fixed, the surer it is

    def values(self, text: str) -> dict[str, str] | None:
        """What stands in its places; None for a text that is no such sentence. Each is as short as may be."""
        first, last = self.fixed[0], self.fixed[-1]
        if not text.startswith(first):
            return None
        if not self.names:
            return {} if text == first else None
        end = len(text) - len(last)
        if not text.endswith(last) or end < len(first):
            return None
        at, values = len(first), {}
        for name, fixed in zip(self.names[:-1], self.fixed[1:-1], strict=True):
            found = text.find(fixed, at, end) if fixed else -1
            if found < 0:
                return None
            values[name], at = text[at:found], found + len(fixed)
        values[self.names[-1]] = text[at:end]
        return values


class Language:
    """One language. Thread-safe, one for all: see `language`."""

    def __init__(self, code: str) -> None:
        self.code, self.name = code, NAMES[code]
        self._sentences: list[tuple[_Sentence, str]] | None = None
        self._catalogue: gettext.NullTranslations = gettext.NullTranslations()
        if code != SOURCE:
            with resources.files(__package__).joinpath(f"{code}.mo").open("rb") as file:
                self._catalogue = gettext.GNUTranslations(file)
        self.text_of, self.text_of_count = self._catalogue.gettext, self._catalogue.ngettext
        self._told = lru_cache(2000)(self._tell)

    # -- what pages say themselves ------------------------------------------------------------

    def text(self, message: str, **values: object) -> str:
        """A message in this language; `%(name)s` in it is that value."""
        text = self.text_of(message)
        return text % values if values else text

    def count(self, one: str, many: str, count: int, **values: object) -> str:
        """A message about so many; `%(num)s` in it is the number."""
        return self.text_of_count(one, many, count) % {"num": count, **values}

    # -- what is told to pages in English -----------------------------------------------------

    def told(self, sentence: str) -> str | None:
        """A sentence from below the faces in this language; None where it is not known.

        Of several sentences, one behind the other, all have to be known.
        """
        return sentence if self.code == SOURCE or not sentence else self._told(sentence, DEPTH)

    def _tell(self, text: str, depth: int) -> str | None:
        whole = self._one(text, depth)
        if whole is not None or ". " not in text:
            return whole
        at = -1
        while (at := text.find(". ", at + 1)) >= 0:
            first = self._one(text[: at + 1], depth)
            if first is not None and (rest := self._tell(text[at + 2 :], depth)) is not None:
                return f"{first} {rest}"
        return None

    def _one(self, text: str, depth: int) -> str | None:
        if self._sentences is None:
            self._sentences = self._known_sentences()
        for sentence, translation in self._sentences:
            values = sentence.values(text)
            if values is None:
                continue
            told = {name: self._value(name, value, depth) for name, value in values.items()}
            if any(told[name] is None for name in CERTAIN.intersection(told)):
                continue
            if sentence.weight >= SURE or None not in told.values():
                return translation % {name: word or values[name] for name, word in told.items()}
        return None

    def _value(self, name: str, value: str, depth: int) -> str | None:
        """A value of a sentence in this language; None for one that ought to be known, and isn't."""
        name = name.rstrip("0123456789_")
        told = self._told(value, depth - 1) if name in WITHIN and depth else None
        if told is None and name in MEASURES:
            return self.measure(value)
        if told is None and name in NUMBERS and self.has_decimal_comma:
            return _POINT.sub(",", value)
        if value.startswith("“") and value.endswith("”") and len(value) > 1:
            begin, end = _QUOTES[self.code]
            return f"{begin}{self.number(value[1:-1])}{end}"
        return told if name in WITHIN else value

    def _known_sentences(self) -> list[tuple[_Sentence, str]]:
        # gettext looks messages up, and has no word for listing them; Babel and Django read the same table
        messages: dict[object, str] = self._catalogue._catalog  # type: ignore[attr-defined]
        prefix = f"{SENTENCE}\x04"
        known = [
            (_Sentence(message.removeprefix(prefix)), translation)
            for message, translation in messages.items()
            if isinstance(message, str) and message.startswith(prefix)
        ]
        # of two that are as sure that one first which is taken only if what stands in it is known
        return sorted(known, key=lambda pair: (-pair[0].weight, CERTAIN.isdisjoint(pair[0].names)))

    # -- numbers and times --------------------------------------------------------------------

    @property
    def has_decimal_comma(self) -> bool:
        """Whether three and a half is 3,5."""
        return self.code != SOURCE

    def number(self, text: str) -> str:
        """A number as this language writes it; any other text as it is."""
        return text.replace(".", ",") if self.has_decimal_comma and _DECIMAL.fullmatch(text) else text

    def read_number(self, text: str) -> str:
        """A number that somebody wrote, as XML writes it; any other text as it is."""
        written = text.strip().replace(",", ".")
        return written if self.has_decimal_comma and _DECIMAL.fullmatch(written.lower()) else text

    def measure(self, words: str) -> str:
        """Times and sizes in English, with their units: 3 min 5 s, 4.2 kB."""
        if not self.has_decimal_comma:
            return words
        units, date = _UNITS.get(self.code, {}), _DATE[self.code]
        words = _TIME.sub(lambda at: time.strftime(date, time.strptime(at[0], _DATE_ISO)), words)
        return _MEASURE.sub(
            lambda found: f"{found[1]}{(found[2] or '').replace('.', ',')} {units.get(found[3], found[3])}", words
        )

    def units(self, *names: str) -> list[str]:
        """Units as this language writes them."""
        return [_UNITS.get(self.code, {}).get(name, name) for name in names]

    def span(self, seconds: float) -> str:
        """A time span, as `model.span` has it."""
        return self.measure(span(seconds))

    def size(self, count: int) -> str:
        """A number of bytes, as `model.span` has it."""
        return self.measure(size(count))

    def clock(self, unix_seconds: float) -> str:
        """A time of day in UTC."""
        return _clock(self.code, int(unix_seconds // 1))


@lru_cache(64)  # the pages of one second all show it
def _clock(code: str, unix_seconds: int) -> str:
    return time.strftime(f"{_DATE.get(code, _DATE_ISO)} UTC", time.gmtime(unix_seconds))


@cache
def language(code: str) -> Language:
    """The language of a code in `NAMES`."""
    return Language(code)


ENGLISH = language(SOURCE)


def asked_for(code: str | None, otherwise: str) -> Language:
    """The language that somebody asks for (de, de-AT), or the other one where we don't speak it."""
    code = (code or "").strip().lower().replace("_", "-").partition("-")[0]
    return language(code if code in NAMES else otherwise)
