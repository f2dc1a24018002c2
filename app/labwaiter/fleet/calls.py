"""What a face asks of a machine, and what that answers: values, and the JSON that they travel as.

Machines of several releases understand each other: what is not known is passed over, what is missing has its default.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from .. import errors
from ..errors import (
    AlreadyRunning,
    ClientError,
    InstrumentInUse,
    InvalidParameter,
    LabClosed,
    NotInHand,
    NotInTime,
    ServiceError,
    SessionFailed,
    SessionOver,
    Unavailable,
    UnknownLab,
    UnknownServiceID,
    UnknownSession,
    UnknownTask,
)

Fields = dict[str, Any]  # a JSON object


@dataclass(frozen=True)
class AbortAnswer:
    """Whether an execution that was to be stopped is gone."""

    gone: bool
    unknown: bool = False  # the machine knows nothing of it: its order is on its way, or was refused

    @property
    def fields(self) -> Fields:
        """As JSON."""
        return {"gone": self.gone, **({"unknown": True} if self.unknown else {})}


@dataclass(frozen=True)
class NotifyAnswer:
    """What became of a message: the reply, or its number."""

    reply: str

    @property
    def fields(self) -> Fields:
        """As JSON."""
        return {"reply": self.reply}


@dataclass(frozen=True)
class RemoveAnswer:
    """What an execution made is gone."""

    @property
    def fields(self) -> Fields:
        """As JSON."""
        return {}


@dataclass(frozen=True)
class FileList:
    """The files that an execution made."""

    files: tuple[tuple[str, int], ...]  # name, bytes

    @property
    def fields(self) -> Fields:
        """As JSON."""
        return {"files": self.files}


@dataclass(frozen=True)
class FilePiece:
    """A piece of one of these."""

    size: int | None  # bytes of the file; None: there is none
    stamp: int = 0  # its modification time, ns
    content: bytes | None = None  # travels behind the JSON

    @property
    def fields(self) -> Fields:
        """As JSON."""
        if self.size is None:
            return {"size": None}
        return {"size": self.size, "stamp": self.stamp, **({} if self.content is None else {"bytes": True})}


@dataclass(frozen=True)
class Operated:
    """What came of an operation on instruments."""

    result: str  # JSON, see `operations`

    @property
    def fields(self) -> Fields:
        """As JSON."""
        return {"result": self.result}


@dataclass(frozen=True)
class Refusal:
    """Why a call was not done: of a machine's `ServiceError`, the same one at the face."""

    message: str
    code: str
    side: str = ServiceError.side
    unknown: bool = False  # the machine knows nothing of the execution
    kind: str = ""  # the class of the error, where its code is that of several
    input: str = ""  # which one it is about

    @classmethod
    def of(cls, error: ServiceError) -> Refusal:
        """What a machine answers instead of raising that."""
        unknown, of = isinstance(error, UnknownServiceID), error.input if isinstance(error, ClientError) else ""
        return cls(error.message, error.code, error.side, unknown, type(error).__name__, of)

    @property
    def error(self) -> ServiceError:
        """What the face raises."""
        kind = _ERRORS.get(self.code, InvalidParameter if self.side == ClientError.side else Unavailable)
        error = _KINDS.get(self.kind, kind)(self.message)
        return error.of(self.input) if isinstance(error, ClientError) else error

    @property
    def fields(self) -> Fields:
        """As JSON; releases before 0.5 read no code."""
        fields: Fields = {"refused": self.message, "side": self.side, "code": self.code, "kind": self.kind}
        return fields | ({"unknown": True} if self.unknown else {}) | ({"input": self.input} if self.input else {})

    @classmethod
    def read(cls, fields: Fields) -> Refusal:
        """Of such JSON; releases before 0.5 tell no code."""
        unknown = bool(fields.get("unknown"))
        code = str(fields.get("code", UnknownServiceID.code if unknown else ""))
        kind, of = str(fields.get("kind", "")), str(fields.get("input", ""))
        return cls(str(fields["refused"]), code, str(fields.get("side", "")), unknown, kind, of)


_ERRORS: dict[str, type[ServiceError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ServiceError) and kind is not ServiceError and "code" in vars(kind)
}
_KINDS: dict[str, type[ServiceError]] = {
    kind.__name__: kind
    for kind in (
        *(NotInHand, InstrumentInUse, UnknownLab, LabClosed, NotInTime, SessionFailed, SessionOver, UnknownSession),
        *(UnknownTask, AlreadyRunning),
    )
}
Answer = AbortAnswer | NotifyAnswer | RemoveAnswer | FileList | FilePiece | Operated
A = TypeVar("A", AbortAnswer, NotifyAnswer, RemoveAnswer, FileList, FilePiece, Operated)


@dataclass(frozen=True)
class MachineCall(Generic[A]):
    """What a face asks of the machine that has an execution, or an instrument; `A` is the answer."""

    DO: ClassVar[str] = ""  # its name in the JSON
    SIGNED: ClassVar[bool] = False  # the answer is signed, too: what was read back safe is believed
    name: str  # of the execution, or of what is done

    @property
    def only_looks(self) -> bool:
        """Whether it changes nothing: done twice after a power cut it does no harm."""
        return False

    def answer(self, fields: Fields, content: bytes | None) -> A:
        """The answer, of its JSON and what came behind it. Raises what `json` and a wrong type raise."""
        raise NotImplementedError


@dataclass(frozen=True)
class Abort(MachineCall[AbortAnswer]):
    """Stop it, and wait for its end."""

    DO = "abort"
    by: str = ""  # who wants that, in words; so of the next two

    def answer(self, fields: Fields, content: bytes | None) -> AbortAnswer:
        return AbortAnswer(bool(fields.get("gone")), bool(fields.get("unknown")))


@dataclass(frozen=True)
class Notify(MachineCall[NotifyAnswer]):
    """Hand a message to it."""

    DO = "notify"
    message: str
    by: str = ""

    def answer(self, fields: Fields, content: bytes | None) -> NotifyAnswer:
        return NotifyAnswer(str(fields["reply"]))


@dataclass(frozen=True)
class Remove(MachineCall[RemoveAnswer]):
    """Remove what it made, now that it has ended."""

    DO = "remove"
    by: str = ""

    def answer(self, fields: Fields, content: bytes | None) -> RemoveAnswer:
        return RemoveAnswer()


@dataclass(frozen=True)
class ListFiles(MachineCall[FileList]):
    """Name the files that it made."""

    DO = "files"
    most: int

    @property
    def only_looks(self) -> bool:
        return True

    def answer(self, fields: Fields, content: bytes | None) -> FileList:
        return FileList(tuple((str(name), int(size)) for name, size in fields.get("files", ())))


@dataclass(frozen=True)
class ReadFile(MachineCall[FilePiece]):
    """Read a piece of one of them."""

    DO = "read"
    file: str
    offset: int
    count: int  # bytes; 0: only what file it is

    @property
    def only_looks(self) -> bool:
        return True

    def answer(self, fields: Fields, content: bytes | None) -> FilePiece:
        size = fields.get("size")
        return FilePiece(None if size is None else int(size), int(fields.get("stamp", 0)), content)


@dataclass(frozen=True)
class ReadLog(MachineCall[FilePiece]):
    """Read a piece of what it has printed."""

    DO = "log"
    offset: int
    count: int  # bytes

    @property
    def only_looks(self) -> bool:
        return True

    def answer(self, fields: Fields, content: bytes | None) -> FilePiece:
        return FilePiece(int(fields.get("size") or 0), 0, content)


@dataclass(frozen=True)
class Operate(MachineCall[Operated]):
    """Do something to instruments, or to one that somebody has in hand: `operations` has what, by name."""

    DO = "operate"
    SIGNED = True
    inputs: str  # JSON
    caller: str  # JSON: who wants it, as the face knows that
    looks: str = ""  # "yes": it changes nothing

    @property
    def only_looks(self) -> bool:
        return bool(self.looks)

    def answer(self, fields: Fields, content: bytes | None) -> Operated:
        return Operated(str(fields["result"]))


KINDS: dict[str, Any] = {kind.DO: kind for kind in (Abort, Notify, Remove, ListFiles, ReadFile, ReadLog, Operate)}


@dataclass(frozen=True)
class NumberedCall:
    """A call on its way, asked for once."""

    do: str
    call: MachineCall[Any] | None  # None: this release does not know it
    number: str | None  # random
    at: float | None  # when it was asked for, by the store's clock; None as the number: of a release before 0.5
    until: float | None  # after which it may not be done; None: it stays
    reply_box: str

    @property
    def text(self) -> str:
        """As JSON."""
        fields: Fields = {"do": self.do} | (vars(self.call) if self.call else {})
        fields |= {"reply": self.reply_box, "number": self.number, "at": self.at}
        return json.dumps(fields | ({} if self.until is None else {"until": self.until}), separators=(",", ":"))

    @classmethod
    def read(cls, fields: Fields) -> NumberedCall:
        """Of such JSON. Raises KeyError, TypeError or ValueError for what is none."""
        do, number, at, until = str(fields.get("do")), fields.get("number"), fields.get("at"), fields.get("until")
        kind, call = KINDS.get(do), None
        with contextlib.suppress(KeyError, TypeError, ValueError):  # another release's, which means another thing by it
            if kind is not None:
                call = kind(
                    **{
                        field.name: (int if field.type == "int" else str)(fields[field.name])
                        for field in dataclasses.fields(kind)
                        if field.name in fields or field.default is dataclasses.MISSING
                    }
                )
        return cls(
            do,
            call,
            number if isinstance(number, str) else None,
            at if isinstance(at, float) else None,
            None if until is None else float(until),
            str(fields["reply"]),
        )
