"""The catalogues of `labwaiter.languages`: made of what the source says to people, and checked against it.

    .venv/bin/python tests/catalogues.py           puts new messages into all catalogues, compiles these
    .venv/bin/python tests/catalogues.py --check   changes nothing; says what is wrong

Of templates the messages are what Jinja finds in `_()` and `ngettext()`; of Python likewise, and sentences of the
context "sentence": what an error of `labwaiter.errors` or `labwaiter.instruments.errors` is made with, and what is
marked `N_()`. A place in such a sentence is named after what stands there: f"{plain(name)} is in use" is "%(name)s is
in use".
"""

from __future__ import annotations

import ast
import io
import itertools
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from jinja2 import Environment, nodes
from jinja2.ext import babel_extract

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "app"))
from labwaiter import errors
from labwaiter.instruments import errors as instrument_errors

PACKAGE = Path(__file__).resolve().parent.parent / "app" / "labwaiter"
CATALOGUES = PACKAGE / "languages"
LANGUAGES = ("de", "es", "ru")
SENTENCE = "sentence"
# what these say is read in a terminal, by a program, or by whoever writes a service: it stays English
ENGLISH = ("api", "cli", "desk", "deployment", "init", "shipped", "simulated_lab", "soap", "test_client", "testing")
# what is called with a sentence → which argument it is; all errors of `labwaiter.errors` and of instruments besides
SAYING = {"TooManyAttempts": 0, "NotPossible": 0, "NotThere": 0, "OutOfTime": 0, "failed": 0}
SAYING |= {"StopReason": 1, "RedisFault": 1, "Stopped": 2}
SAYING |= {
    name: 0
    for name, kind in (vars(errors) | vars(instrument_errors)).items()
    if isinstance(kind, type) and issubclass(kind, errors.ServiceError) and kind is not errors.Incident
}
FIXED_MIN = 8  # letters that a sentence has of its own: with fewer it would be known again everywhere
VARIANTS_MAX = 16
PLACE = re.compile(r"%\((\w+)\)s")
TAG = re.compile(r"</?[a-z][^>]*>|&\w+;")
NAME = "labwaiter"  # in every language
READ_ALOUD = ("title", "aria-label", "placeholder", "alt", "label")


@dataclass
class Message:
    """One message of the source."""

    id: str | tuple[str, str]  # of two: one, many
    context: str | None
    files: set[str] = field(default_factory=set)


# -- what the source says -----------------------------------------------------------------------


class _Sentences:
    """What a Python expression may say: its texts, with named places."""

    def __init__(self, constants: dict[str, ast.expr]) -> None:
        self._constants = constants

    def of(self, node: ast.expr) -> list[str] | None:
        """All that it may be; None where that can't be told."""
        match node:
            case ast.Constant(value=str(text)):
                return [text.replace("%", "%%")]
            case ast.JoinedStr(values=parts):
                return self._joined([self._part(part) for part in parts])
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._joined([self._each(left), self._each(right)])
            case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mult()):
                return ["", text]
            case ast.IfExp(body=one, orelse=other):
                return self._each(one) + self._each(other)
            case ast.BoolOp(op=ast.Or(), values=values):
                return [text for value in values for text in self._each(value)]
            case ast.Name(id=name) | ast.Attribute(attr=name) if name.isupper() and name in self._constants:
                return self.of(self._constants[name])
            case ast.Call(func=ast.Attribute(value=text, attr="format"), args=args):
                return self._formatted(self.of(text), args)
            case ast.Call(func=ast.Name(id="N_"), args=[text]):
                return self.of(text)
        return None

    def _part(self, part: ast.expr) -> list[str]:
        if isinstance(part, ast.FormattedValue):
            return self._each(part.value)
        return self.of(part) or [""]

    def _each(self, node: ast.expr) -> list[str]:
        return self.of(node) or [self._place(node)]

    def _joined(self, parts: list[list[str]]) -> list[str]:
        return ["".join(chosen) for chosen in itertools.islice(itertools.product(*parts), VARIANTS_MAX)]

    def _formatted(self, texts: list[str] | None, args: list[ast.expr]) -> list[str] | None:
        if texts is None:
            return None
        places = iter(args)

        def place(found: re.Match[str]) -> str:
            value = None if found[1] else next(places, None)
            return self._place(value) if value is not None else f"%({found[1] or 'value'})s"

        made = []
        for text in texts:
            places = iter(args)
            made.append(re.sub(r"\{(\w*)[^}]*\}", place, text))
        return made

    def _place(self, node: ast.expr) -> str:
        return f"%({self._name(node)})s"

    def _name(self, node: ast.expr) -> str:
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                return name.strip("_").lower()
            case ast.Subscript(slice=ast.Constant(value=str(name))):
                return name
            case ast.Subscript(value=value):
                return self._name(value)
            case ast.Call(func=ast.Name(id="span" | "size" as name)):
                return name
            case ast.Call(args=[first, *_]):
                return self._name(first)
            case ast.Call(func=func):
                return self._name(func)
            case ast.BoolOp(values=[first, *_]) | ast.BinOp(left=first) | ast.IfExp(body=first):
                return self._name(first)
        return "value"


def numbered(text: str) -> str:
    """A text in which no two places have one name."""
    seen: dict[str, int] = {}

    def place(found: re.Match[str]) -> str:
        seen[found[1]] = number = seen.get(found[1], 0) + 1
        return found[0] if number == 1 else f"%({found[1]}_{number})s"

    return PLACE.sub(place, text)


def said_in(
    source: str, constants: dict[str, ast.expr], is_told: bool = True
) -> Iterator[tuple[str | tuple[str, str], str | None]]:
    """What Python code says, each message with its context.

    Args:
        constants: texts that it may name.
        is_told: its errors are told to people, too.
    """
    sentences = _Sentences(constants)
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        first = node.args[0]
        if name == "_" and isinstance(first, ast.Constant):
            yield first.value, None
        elif name == "ngettext":
            one, many = (a.value for a in node.args[:2] if isinstance(a, ast.Constant))
            yield (one, many), None
        elif name == "N_" or (is_told and name in SAYING and SAYING[name] < len(node.args)):
            said = first if name == "N_" else node.args[SAYING[name]]
            if isinstance(said, ast.Call) and isinstance(said.func, ast.Name) and said.func.id == "_":
                continue  # it is in its reader's language already
            for text in sentences.of(said) or ():
                text = re.sub(
                    r"\{(\w*)\}", lambda found: f"%({found[1] or 'value'})s", text
                )  # it is formatted elsewhere
                if sum(map(str.isalpha, PLACE.sub("", text))) >= (1 if name in ("N_", "RedisFault") else FIXED_MIN):
                    yield numbered(text), SENTENCE


def messages() -> list[Message]:
    """All that the source says to people, in its own order."""
    found: dict[tuple[object, str | None], Message] = {}
    files = sorted(PACKAGE.rglob("*.py")) + sorted(PACKAGE.rglob("*.j2"))
    files = [path for path in files if path.relative_to(PACKAGE).parts[0] not in ENGLISH]
    constants: dict[str, ast.expr] = {}
    for path in files:
        if path.suffix == ".py":
            for node in ast.parse(path.read_text()).body:
                if (
                    isinstance(node, ast.Assign)
                    and isinstance(node.targets[0], ast.Name)
                    and isinstance(node.value, (ast.Constant, ast.JoinedStr, ast.Call, ast.BinOp))
                ):
                    constants.setdefault(node.targets[0].id, node.value)
    for path in files:
        if path.suffix == ".py":
            said = said_in(path.read_text(), constants)
        else:
            with open(path, "rb") as template:
                said = iter([(m, None) for _, _, m, _ in babel_extract(template, ("_", "ngettext"), (), {})])
        for text, context in said:
            if text is None:  # `_()` of a variable, whose text is marked where it stands
                continue
            if not isinstance(text, str):  # Jinja gives the arguments that are no texts as None
                words = [word for word in text if word]
                text = words[0] if len(words) == 1 else (words[0], words[1])
            message = found.setdefault((text, context), Message(text, context))
            message.files.add(str(path.relative_to(PACKAGE)))
    return list(found.values())


# -- the catalogues -----------------------------------------------------------------------------


def read(language: str) -> Catalog:
    """One of the catalogues, as it is."""
    with open(CATALOGUES / f"{language}.po", "rb") as file:
        return read_po(file, locale=language)


def renewed(old: Catalog, said: list[Message]) -> Catalog:
    """A catalogue of what the source says now, with the translations that there are."""
    new = Catalog(
        locale=old.locale, header_comment=old.header_comment, project="labwaiter", version=None, fuzzy=False,
        copyright_holder="the labwaiter developers", creation_date=old.creation_date, revision_date=old.revision_date,
        last_translator=old.last_translator, language_team=old.language_team, msgid_bugs_address=old.msgid_bugs_address,
    )  # fmt: skip
    for message in said:
        before = old.get(message.id if isinstance(message.id, str) else message.id[0], message.context)
        string = before.string if before is not None and not before.fuzzy else None
        comments = before.user_comments if before is not None else ()
        locations = [(file, 1) for file in sorted(message.files)]
        new.add(message.id, string, locations, user_comments=comments, context=message.context)
    return new


def as_po(catalogue: Catalog) -> bytes:
    """As its file has it: without numbers of lines, which move with each change of the source."""
    made = io.BytesIO()
    write_po(made, catalogue, width=110, include_lineno=False, ignore_obsolete=True)
    return made.getvalue()


def as_mo(catalogue: Catalog) -> bytes:
    """As gettext reads it."""
    made = io.BytesIO()
    write_mo(made, catalogue)
    return made.getvalue()


def renew() -> None:
    """Put new messages into all catalogues, and compile them."""
    said = messages()
    for language in LANGUAGES:
        catalogue = renewed(read(language), said)
        (CATALOGUES / f"{language}.po").write_bytes(as_po(catalogue))
        (CATALOGUES / f"{language}.mo").write_bytes(as_mo(catalogue))


# -- what is wrong ------------------------------------------------------------------------------


def wrong() -> list[str]:
    """What is wrong with the catalogues and the templates, a line each."""
    said = messages()
    lines = [line for language in LANGUAGES for line in wrong_with(language, read(language), said)]
    for language in LANGUAGES:
        if (CATALOGUES / f"{language}.mo").read_bytes() != as_mo(read(language)):
            lines.append(f"{language}.mo is not made of {language}.po: call tests/catalogues.py.")
    return lines + [line for path in _templates() for line in bare_texts(path.name, path.read_text())]


def wrong_with(language: str, catalogue: Catalog, said: list[Message]) -> list[str]:
    """What is wrong with one catalogue."""
    lines = []
    wanted = {(message.id if isinstance(message.id, str) else message.id[0], message.context) for message in said}
    for message in said:
        one = message.id if isinstance(message.id, str) else message.id[0]
        there = catalogue.get(one, message.context)
        strings = () if there is None else there.string if isinstance(there.string, tuple) else (there.string,)
        if not strings or not all(strings):
            lines.append(f"{language}.po misses “{one}” of {', '.join(sorted(message.files))}.")
        elif there is not None and there.fuzzy:
            lines.append(f"{language}.po is not sure of “{one}” (fuzzy): look at it, and take the mark away.")
        else:
            lines += [f"{language}.po: “{string}” {why}." for string in strings if (why := _unlike(message, string))]
    for message in catalogue:
        one = message.id if isinstance(message.id, str) else message.id[0]
        if one and (one, message.context) not in wanted:
            lines.append(f"{language}.po has “{one}”, which nothing says any more.")
    if catalogue.obsolete:
        lines.append(f"{language}.po keeps {len(catalogue.obsolete)} messages as obsolete.")
    return lines


def _unlike(message: Message, string: str) -> str:
    """How a translation differs from its message where it may not; "" where it doesn't."""
    one, many = (message.id, message.id) if isinstance(message.id, str) else message.id
    places = set(PLACE.findall(string))
    if not (set(PLACE.findall(one)) <= places <= set(PLACE.findall(many)) | set(PLACE.findall(one))):
        return f"has other places than “{many}”"
    if "%" in PLACE.sub("", string).replace("%%", ""):
        return "has a lone %"
    # what Jinja finds is HTML; sentences from below are escaped
    if message.context is None and sorted(TAG.findall(string)) != sorted(TAG.findall(many)):
        return f"has other marks than “{many}”"
    if string.strip() != string and many.strip() == many:
        return "begins or ends with white space"
    if many[-1] in ".:…" and string[-1] != many[-1]:
        return f"does not end as “{many}” does"
    return ""


def _templates() -> list[Path]:
    return [p for p in sorted(PACKAGE.rglob("*.j2")) if p.relative_to(PACKAGE).parts[0] not in ENGLISH]


class _BareTexts(HTMLParser):
    """Texts between tags and in attributes that people read, in which there are letters of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._within: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within.append(tag)
        for name, text in attrs:
            if name in READ_ALOUD and any(map(str.isalpha, text or "")):
                self.found.append(f'{name}="{text}"')

    def handle_endtag(self, tag: str) -> None:
        while self._within and self._within.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        words = data.replace(NAME, "")
        if not {"style", "script"} & set(self._within) and any(map(str.isalpha, words)):
            self.found.append(" ".join(data.split()))


def bare_texts(name: str, source: str) -> list[str]:
    """What a template says without `_()`, a line each."""
    environment = Environment()
    html = ""
    for _, token, value in environment.lex(source):
        if token == "data":
            html += value
        elif token == "variable_begin":
            html += "0"
    bare = _BareTexts()
    bare.feed(html)
    bare.close()
    texts = bare.found
    for output in environment.parse(source).find_all(nodes.Output):
        for node in output.nodes:
            calls = [*node.find_all(nodes.Call), *([node] if isinstance(node, nodes.Call) else [])]
            marked = {id(const) for call in calls for const in call.find_all(nodes.Const)}
            consts = [node] if isinstance(node, nodes.Const) else list(node.find_all(nodes.Const))
            for const in consts:
                if (
                    isinstance(const.value, str)
                    and id(const) not in marked
                    and re.match(r"[A-Z]?[a-z]+ [a-z]", const.value)
                ):
                    texts.append(const.value)
    return [f"{name} says “{text}” without _()." for text in texts]


def main() -> int:
    """Returns how the process is to end."""
    if "--check" not in sys.argv[1:]:
        renew()
    lines = wrong()
    print("\n".join(lines) or f"The catalogues of {', '.join(LANGUAGES)} have all that is said.")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
