"""A service without Python: a TOML file that names a program, and the Python that it stands for.

    [service]
    name = "Slicer"
    namespace = "http://lab.example/slicer/"

    [inputs.model]
    type = "file"
    endings = [".stl"]

    [command]
    line = ["slic3r", "{model}", "--output", "part.gcode"]

    [outputs.gcode]
    type = "file"
    file = "part.gcode"

There is one way from there on: `python_of` writes the service file that says the same, and that is what is imported,
each line of it at the line of the TOML that it comes of. What that file can't say is refused here, with the line.
All keys: docs/services-without-python.md.
"""

from __future__ import annotations

import ast
import difflib
import keyword
import math
import re
import tomllib
from collections.abc import Iterator
from typing import Any

_TYPES = {"text": "str", "int": "int", "float": "float", "boolean": "bool", "file": "Path", "instrument": "Any"}
_UNITS = {"s": 1, "min": 60, "h": 3600}
_SPAN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(s|min|h)\s*")
_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
# that a line may have
_JOB = ("data", "status_file", "result_file", "notifications_file", "service_id", "user", "session_token_file")
_PARTS = ("name", "stem", "suffix")  # of a file's path
_HABITS = ("progress", "stages", "result", "success", "environment", "folder", "tty")
_SOURCES = ("file", "json", "last_line", "pattern")
_COUNTS = ("at_once", "cpu_seconds", "memory", "open_files", "processes", "file_size")
_SERVICE = ("name", "namespace", "operation", "doc", "limit", "stall", "grace", "needs", "cpus", "user", "messages")
_SWITCHES = ("unchanged", "session_token")
KEYS = {  # of each kind of table
    "service": (*_SERVICE, *_COUNTS, *_SWITCHES),
    "inputs": ("type", "words", "default", "optional", "low", "high", "unit", "choices", "endings", "driver"),
    "command": ("line", *_HABITS),
    "script": ("line", *_HABITS, "python"),
    "outputs": ("type", "words", "unit", "choices", *_SOURCES, "key"),
}
_INDENT = "    "
PORT_ALONE = "labwaiter.instruments.drivers:Port"  # the driver that leaves the port to a program


def python_of(text: str, name: str) -> str:
    """The Python service file that a TOML file stands for.

    Args:
        name: of the TOML file, for messages.

    Raises:
        SyntaxError: what can't be meant, in a sentence, with its line there.
    """
    return "".join(f"{line}\n" for line, _ in _Writer(text, name).lines())


def tree_of(text: str, name: str) -> ast.Module:
    """As `python_of`, read by Python, each node at the line of the TOML file that it comes of.

    Raises:
        SyntaxError: as there.
    """
    lines = _Writer(text, name).lines()
    tree = ast.parse("".join(f"{line}\n" for line, _ in lines))
    for node in ast.walk(tree):
        if (at := getattr(node, "lineno", None)) is not None:
            place: Any = node
            place.lineno = place.end_lineno = lines[at - 1][1]
            place.col_offset = place.end_col_offset = 0
    return tree


def _written(value: Any) -> str:
    """A plain value as Python writes it; a text in double quotes where that can be."""
    if isinstance(value, (list, tuple)):
        inside = ", ".join(map(_written, value))
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    text = repr(value)
    return f'"{text[1:-1]}"' if isinstance(value, str) and '"' not in value and text[0] == "'" else text


class _Places:
    """The lines of a TOML file at which its tables and keys stand."""

    _TABLE = re.compile(r"\s*\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
    _KEY = re.compile(r"\s*([\w.\"'-]+)\s*=")

    def __init__(self, text: str) -> None:
        self.texts = text.splitlines()
        self._at: dict[str, int] = {}
        table = ""
        for number, line in enumerate(self.texts, 1):
            if begun := self._TABLE.match(line):
                table = self._plain(begun[1])
                self._at.setdefault(table, number)
            elif key := self._KEY.match(line):
                self._at.setdefault(f"{table}.{self._plain(key[1])}".lstrip("."), number)

    @staticmethod
    def _plain(path: str) -> str:
        return re.sub(r"[\"'\s]", "", path)

    def line(self, path: str) -> int:
        """Of a table or a key ("inputs.height.low"), or of the nearest that it is in."""
        while path:
            if path in self._at:
                return self._at[path]
            inside = (at for known, at in self._at.items() if known.startswith(f"{path}."))
            if (first := min(inside, default=0)) > 0:
                return first
            path = path.rpartition(".")[0]
        return 1


class _Writer:
    """The Python of one TOML file, line by line, and with each the line that it comes of."""

    def __init__(self, text: str, name: str) -> None:
        self._name, self._places = name, _Places(text)
        try:
            self._content = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            where = re.search(r"at line (\d+)", str(error))
            line = int(where[1]) if where else len(self._places.texts)
            why = re.sub(r" \(at (line.*|end of document)\)$", "", str(error))
            raise self._mistake_at(line, f"this is no TOML: {why}") from None
        except RecursionError:
            raise self._mistake_at(1, "this is no TOML that can be read: it is nested too deeply") from None
        self._names: set[str] = set()  # that the Python needs of labwaiter
        self._given: set[str] = set()  # inputs that can be left out, and are there where the text stands

    def _mistake_at(self, line: int, why: str) -> SyntaxError:
        texts, why = self._places.texts, why if why.endswith("?") else f"{why}."
        return SyntaxError(why, (self._name, line, 0, texts[line - 1].strip() if 0 < line <= len(texts) else ""))

    def _mistake(self, path: str, why: str) -> SyntaxError:
        return self._mistake_at(self._places.line(path), why)

    # -- reading ------------------------------------------------------------------------------

    def _table(self, of: dict[str, Any], path: str, keys: tuple[str, ...] | None = None) -> dict[str, Any]:
        """A table by the last name of its path, empty where it isn't there. `keys`: that it may have."""
        table = of.get(path.rpartition(".")[2], {})
        if not isinstance(table, dict):
            raise self._mistake(path, f"{path} must be a table: [{path}]")
        self._only(table, path, keys)
        return table

    def _only(self, table: dict[str, Any], path: str, keys: tuple[str, ...] | None) -> None:
        for key in table:
            if keys is not None and key not in keys:
                like = difflib.get_close_matches(key, keys, 1)
                meant = f"; is {like[0]} meant?" if like else f"; there are: {', '.join(keys)}"
                raise self._mistake(f"{path}.{key}" if path else key, f"{path or 'the file'} has no key {key}{meant}")

    def _get(self, table: dict[str, Any], path: str, kinds: tuple[type, ...], what: str) -> Any:
        """A value by the last name of its path; None where it isn't there."""
        value = table.get(path.rpartition(".")[2])
        if value is None:
            return None
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise self._mistake(path, f"{path} must be {what}")
        if isinstance(value, float) and not math.isfinite(value) and not path.endswith(".default"):
            raise self._mistake(path, f"{path} must be {what}, not {value}")
        return value

    def _text(self, table: dict[str, Any], path: str, needed: bool = False) -> str | None:
        text: str | None = self._get(table, path, (str,), "a text")
        if needed and not text:
            raise self._mistake(path, f"{path} is missing: give it a text")
        return text

    def _texts(self, table: dict[str, Any], path: str, may_be_one: bool = False) -> list[str] | str | None:
        value: Any = self._get(table, path, (list, str) if may_be_one else (list,), "a list of texts")
        if isinstance(value, list) and not all(isinstance(text, str) for text in value):
            raise self._mistake(path, f"{path} must be a list of texts")
        return value  # type: ignore[no-any-return]

    def _seconds(self, table: dict[str, Any], path: str) -> float | None:
        what = 'a number of seconds, or a text such as "30 min"'
        value = self._get(table, path, (int, float, str), what)
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        span = _SPAN.fullmatch(value)
        if span is None:
            raise self._mistake(path, f"{path} must be {what}")
        return float(span[1]) * _UNITS[span[2]]

    # -- writing ------------------------------------------------------------------------------

    def lines(self) -> list[tuple[str, int]]:
        """All of it, each with its line in the TOML file. Raises SyntaxError."""
        self._only(self._content, "", tuple(KEYS))
        service = self._table(self._content, "service", KEYS["service"])
        at = self._places.line("service")
        name, namespace = self._text(service, "service.name", True), self._text(service, "service.namespace", True)
        operation = self._text(service, "service.operation") or f"start{name}"
        if not operation.isidentifier() or keyword.iskeyword(operation):
            raise self._mistake(
                "service.operation", f"service.operation must be a name: letters, digits and _, not {operation!r}"
            )
        inputs = list(self._inputs())
        outputs = list(self._outputs())
        body = list(self._body(outputs))
        rules = [_written(name), f"namespace={_written(namespace)}", *self._rules(service)]
        written: list[tuple[str, int]] = [("", at)]
        if outputs:
            written += [("class Results(Outputs):", self._places.line("outputs"))]
            written += [(f"{_INDENT}{output}: {annotation}", line) for output, annotation, _, line in outputs]
            written += [("", at), ("", at)]
        written += [(f"@service({', '.join(rules)})", at), (f"def {operation}(", at), (f"{_INDENT}job: Job,", at)]
        written += [(f"{_INDENT}{text},", line) for text, line in inputs]
        written += [(f") -> {'Results' if outputs else 'None'}:", at)]
        if doc := self._doc(service):
            written += [(f"{_INDENT}{_written(doc)}", at)]
        annotations = " ".join([text for text, _ in inputs] + [annotation for _, annotation, _, _ in outputs])
        names = {*self._names, "Job", "service"} | ({"Outputs"} if outputs else set())
        typing = [name for name in ("Annotated", "Any", "Literal") if re.search(rf"\b{name}\b\[?", annotations)]
        head = [f"from typing import {', '.join(typing)}"] * bool(typing)
        if re.search(r"\bPath\b", annotations):
            head = ["from pathlib import Path", *head]
        head += [""] * bool(head) + [f"from labwaiter import {', '.join(sorted(names))}", ""]
        return [*((text, at) for text in head), *written, *body]

    def _rules(self, service: dict[str, Any]) -> Iterator[str]:
        for key in ("limit", "stall", "grace"):
            if (seconds := self._seconds(service, f"service.{key}")) is not None:
                yield f"{key}={seconds!r}"
        for key in _COUNTS:
            if (most := self._get(service, f"service.{key}", (int,), "a whole number")) is not None:
                yield f"{key}={most!r}"
        if (cpus := self._get(service, "service.cpus", (int, float), "a number")) is not None:
            yield f"cpus={cpus!r}"
        if user := self._text(service, "service.user"):
            yield f"user={_written(user)}"
        for key in _SWITCHES:
            if self._get(service, f"service.{key}", (bool,), "true or false"):
                yield f"{key}=True"
        if messages := self._messages(service):
            yield f"messages={messages}"
        needs = self._texts(service, "service.needs", True)
        if needs is None and "command" in self._content:
            line = self._content["command"].get("line") if isinstance(self._content["command"], dict) else None
            first = line[0] if isinstance(line, list) and line else ""
            needs = [first] if isinstance(first, str) and "/" not in first and not _PLACE.search(first) else None
        if needs:
            yield f"needs={_written(needs)}"

    def _messages(self, service: dict[str, Any]) -> str:
        """As Python writes them; "" where there are none."""
        path = "service.messages"
        declared = self._get(service, path, (list, dict), "a list of texts, or a table of texts with their words")
        texts = [*declared, *declared.values()] if isinstance(declared, dict) else declared or []
        if not all(isinstance(text, str) for text in texts):
            raise self._mistake(path, f"{path} must be a list of texts, or a table of texts with their words")
        if isinstance(declared, dict):
            return f"{{{', '.join(f'{_written(name)}: {_written(words)}' for name, words in declared.items())}}}"
        return _written(declared) if declared else ""

    def _doc(self, service: dict[str, Any]) -> str:
        """Its words, and those of its inputs and outputs."""
        said = [self._text(service, "service.doc") or ""]
        words = []
        for table in ("inputs", "outputs"):
            for name, each in self._content.get(table, {}).items():
                if text := self._text(each, f"{table}.{name}.words"):
                    words.append(f"{name}: {' '.join(text.split())}")
        return "\n\n".join(part for part in (said[0].strip(), "\n".join(words)) if part)

    def _inputs(self) -> Iterator[tuple[str, int]]:
        """As parameters, each with its line: those that can be left out last, as Python has it."""
        optional = []
        for name in self._table(self._content, "inputs"):
            path = f"inputs.{name}"
            table = self._named(self._content["inputs"], path, name, KEYS["inputs"])
            annotation = self._annotation(table, path)
            line, is_instrument = self._places.line(path), table.get("type") == "instrument"
            default = self._get(table, f"{path}.default", (str, int, float, bool), "a text, a number, true or false")
            may_be_left_out = self._get(table, f"{path}.optional", (bool,), "true or false")
            if is_instrument and (default is not None or may_be_left_out):
                raise self._mistake(path, f"{path} is an instrument: it can always be left out where exactly one fits")
            if default is not None:
                optional.append((f"{name}: {annotation} = {_written(default)}", line))
            elif may_be_left_out:
                optional.append((f"{name}: {annotation} | None = None", line))
            else:
                yield f"{name}: {annotation}", line
        yield from optional

    def _named(self, of: dict[str, Any], path: str, name: str, keys: tuple[str, ...]) -> dict[str, Any]:
        if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name):
            raise self._mistake(
                path, f"{name!r} can be no name here: give it letters, digits and _, and no word of Python's"
            )
        return self._table(of, path, keys)

    def _annotation(self, table: dict[str, Any], path: str) -> str:
        choices = self._texts(table, f"{path}.choices")
        kind = self._text(table, f"{path}.type") or "text"
        if kind not in _TYPES:
            like = difflib.get_close_matches(kind, _TYPES, 1)
            raise self._mistake(
                f"{path}.type",
                f"{path} has no type {kind!r}; is {like[0]} meant?"
                if like
                else f"{path} has no type {kind!r}; there are: {', '.join(_TYPES)}",
            )
        extras = []
        if kind == "instrument":
            self._names.add("Driver")
            extras.append(f"Driver({_written(self._text(table, f'{path}.driver', True))})")
        elif "driver" in table:
            raise self._mistake(f"{path}.driver", f"{path}.driver is for an instrument: its type is {kind}")
        low, high = (self._get(table, f"{path}.{key}", (int, float), "a number") for key in ("low", "high"))
        unit = self._text(table, f"{path}.unit")
        if kind == "text" and not choices and (low is not None or high is not None):
            self._names.add("Length")
            extras.append(f"Length({low or 0!r}{'' if high is None else f', {high!r}'})")
        elif low is not None or high is not None:
            self._names.add("Range")
            extras.append(f"Range({low!r}, {high!r})")
        if unit:
            self._names.add("Unit")
            extras.append(f"Unit({_written(unit)})")
        if endings := self._texts(table, f"{path}.endings", True):
            self._names.add("Suffix")
            extras.append(f"Suffix({', '.join(map(_written, [endings] if isinstance(endings, str) else endings))})")
        annotation = f"Literal[{', '.join(map(_written, choices))}]" if choices else _TYPES[kind]
        return f"Annotated[{annotation}, {', '.join(extras)}]" if extras else annotation

    def _outputs(self) -> Iterator[tuple[str, str, str | None, int]]:
        """Each output: its name, its annotation, where it comes from (None: from what the program leaves), its line."""
        tables = self._table(self._content, "outputs")
        for name in tables:
            path = f"outputs.{name}"
            table = self._named(tables, path, name, KEYS["outputs"])
            if table.get("type") == "instrument":
                raise self._mistake(f"{path}.type", f"{path} can't be an instrument")
            yield name, self._annotation(table, path), self._source(table, path), self._places.line(path)

    def _source(self, table: dict[str, Any], path: str) -> str | None:
        given = [key for key in _SOURCES if key in table]
        if len(given) > 1:
            raise self._mistake(f"{path}.{given[1]}", f"{path} comes from one place: give it {given[0]} or {given[1]}")
        if "key" in table and given != ["json"]:
            raise self._mistake(f"{path}.key", f"{path}.key is a key of a JSON file: say which by {path}.json")
        if not given:
            return None
        key = given[0]
        if key == "last_line":
            if self._get(table, f"{path}.last_line", (bool,), "true") is not True:
                raise self._mistake(f"{path}.last_line", f"{path}.last_line must be true, or not there")
            self._names.add("last_line")
            return "last_line(printed)"
        text = self._text(table, f"{path}.{key}", True)
        assert text is not None
        if key == "pattern":
            try:
                groups = re.compile(text).groups
            except re.error as error:
                raise self._mistake(f"{path}.pattern", f"{path}.pattern is no pattern: {error}") from None
            if groups != 1:
                raise self._mistake(f"{path}.pattern", f"{path}.pattern needs one group, around what is the value")
            self._names.add("printed_value")
            return f"printed_value(printed, {_written(text)})"
        file = self._filled(text, f"{path}.{key}")
        if key == "json":
            self._names.add("json_value")
            name = self._text(table, f"{path}.key") or path.rpartition(".")[2]
            return f"json_value({file}, {_written(name)})"
        if table.get("type") == "file":
            return f"Path({file})"
        self._names.add("text_in")
        return f"text_in({file})"

    def _body(self, outputs: list[tuple[str, str, str | None, int]]) -> Iterator[tuple[str, int]]:
        kinds = [key for key in ("command", "script") if key in self._content]
        if len(kinds) != 1:
            raise self._mistake(
                kinds[-1] if kinds else "service", "it needs one program: a table [command] or [script]"
            )
        kind = kinds[0]
        table, at = self._table(self._content, kind, KEYS[kind]), self._places.line(f"{kind}.line")
        line = self._get(table, f"{kind}.line", (list,), "a list: the program, and its arguments")
        if not line or not isinstance(line[0], str) or not line[0]:
            raise self._mistake(f"{kind}.line", f"{kind}.line must be a list: the program, and its arguments")
        self._names.add(kind.capitalize())
        yield f"{_INDENT}program = {kind.capitalize()}(", at
        for argument in line:
            yield f"{_INDENT * 2}{self._argument(argument, f'{kind}.line')},", at
        for key, value in self._habits(table, kind):
            yield f"{_INDENT * 2}{key}={value},", self._places.line(f"{kind}.{key}")
        yield f"{_INDENT})", at
        sources = [source for _, _, source, _ in outputs]
        if not any(sources):  # its result file tells them
            yield f"{_INDENT}{'return program' if outputs else 'job.run(program)'}", at
            return
        for name, _, source, line_of in outputs:
            if source is None:
                raise self._mistake_at(
                    line_of, f"outputs.{name} says not where it comes from: give it one of {', '.join(_SOURCES)}"
                )
        printed = any(source is not None and "(printed" in source for source in sources)
        yield f"{_INDENT}{'printed = ' if printed else ''}job.run(program)", at
        yield f"{_INDENT}return Results(", at
        for name, _, source, line_of in outputs:
            yield f"{_INDENT * 2}{name}={source},", line_of
        yield f"{_INDENT})", at

    def _habits(self, table: dict[str, Any], kind: str) -> Iterator[tuple[str, str]]:
        for key in ("progress", "stages"):
            if (texts := self._texts(table, f"{kind}.{key}", True)) is not None:
                yield key, _written(texts)
        for key in ("result", "folder", "python"):
            if (text := self._text(table, f"{kind}.{key}")) is not None:
                yield key, self._filled(text, f"{kind}.{key}")
        if (statuses := self._get(table, f"{kind}.success", (list,), "a list of exit statuses: [0, 2]")) is not None:
            yield "success", _written(statuses)
        if "environment" in table:
            variables = self._table(table, f"{kind}.environment")
            for name, value in variables.items():
                if not isinstance(value, (str, int, float, bool)):
                    raise self._mistake(
                        f"{kind}.environment.{name}", f"{kind}.environment.{name} must be a text or a number"
                    )
            yield (
                "environment",
                "{"
                + ", ".join(f"{_written(n)}: {self._value(v, f'{kind}.environment')}" for n, v in variables.items())
                + "}",
            )
        if self._get(table, f"{kind}.tty", (bool,), "true or false"):
            yield "tty", "True"

    def _value(self, value: Any, path: str) -> str:
        return self._filled(value, path) if isinstance(value, str) else _written(value)

    def _argument(self, argument: Any, path: str) -> str:
        """One argument, or several that are given together with an input, as Python writes them."""
        if isinstance(argument, (str, int, float, bool)):
            return self._value(argument, path)
        what = 'a text, a number, or {with = "an input", add = ["texts"]}'
        if not isinstance(argument, dict):
            raise self._mistake(path, f"each part of {path} must be {what}")
        self._only(argument, path, ("with", "add"))
        name, added = argument.get("with"), argument.get("add")
        if (
            not isinstance(name, str)
            or not isinstance(added, list)
            or not all(isinstance(a, (str, int, float)) for a in added)
        ):
            raise self._mistake(path, f"each part of {path} must be {what}")
        table = self._content.get("inputs", {}).get(name)
        if table is None:
            raise self._mistake(path, f"{path} names {name!r}, which is no input{self._like(name)}")
        if table.get("type") == "instrument":
            raise self._mistake(path, f"{path} names {name}, an instrument, which is always there")
        self._given.add(name)
        values = [self._value(text, path) for text in added]
        self._given.discard(name)
        condition = name if table.get("type") == "boolean" else f"{name} is not None"
        return f"*(({', '.join(values)}{',' if len(values) == 1 else ''}) if {condition} else ())"

    def _like(self, name: str) -> str:
        like = difflib.get_close_matches(name, self._content.get("inputs", {}), 1)
        return f"; is {like[0]} meant?" if like else ""

    def _filled(self, text: str, path: str) -> str:
        """A text in which {names} stand for values, as Python writes it."""
        parts, literal, end = [], "", 0
        for place in _PLACE.finditer(text):
            literal, end = literal + text[end : place.start()], place.end()
            if place[0] in ("{{", "}}"):
                literal += place[0][0]
                continue
            if place[1] is None:
                raise self._mistake(path, f"{path} has a lone {place[0]}: write it twice where it is meant so")
            parts += [_written(literal)] * bool(literal) + [self._named_value(place[1], path)]
            literal = ""
        literal += text[end:]
        if not parts:
            return _written(literal)
        parts += [_written(literal)] * bool(literal)
        if len(parts) == 1:
            return parts[0]
        self._names.add("text_of")
        return " + ".join(part if part[0] in "'\"" else f"text_of({part})" for part in parts)

    def _named_value(self, name: str, path: str) -> str:
        first, _, part = name.partition(".")
        if first == "job" and part in _JOB:
            return name
        table = self._content.get("inputs", {}).get(first)
        if table is not None and table.get("type") == "instrument":
            if part == "port" and table.get("driver") == PORT_ALONE:
                return name
            raise self._mistake(
                path,
                f"{path} names the instrument {first}: what a program can be given of one is {{{first}.port}},"
                f' where its driver is "{PORT_ALONE}", which leaves the port to the program',
            )
        if table is not None and table.get("optional") and first not in self._given:
            raise self._mistake(
                path, f'{path} names {{{first}}}, which may be left out: {{with = "{first}", add = ["{{{first}}}"]}}'
            )
        if table is not None and (not part or (table.get("type") == "file" and part in _PARTS)):
            return name
        if table is not None:
            parts = f"of a file there are {', '.join(_PARTS)}" if table.get("type") == "file" else "it has no parts"
            raise self._mistake(path, f"{path} names {{{name}}}: {parts}")
        if first == "job":
            raise self._mistake(path, f"{path} names {{{name}}}; of the job there are: {', '.join(_JOB)}")
        raise self._mistake(path, f"{path} names {{{name}}}, which is no input{self._like(first)}")
