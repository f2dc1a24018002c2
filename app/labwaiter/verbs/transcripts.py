"""What executions and instruments have said to each other, of the transcripts that they left."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..errors import Unavailable, UnknownServiceID
from ..instruments import transcript
from ..instruments.transcript import Exchange
from ..model.caller import Caller
from ..model.record import Record
from .jobs import Jobs

NONE_YET = (
    "No execution here has left a transcript of {}: start one that uses it, then ask again. Other libraries' drivers"
    " leave none."
)


@dataclass(frozen=True)
class Recorded:
    """What one execution and an instrument said to each other."""

    service_id: str
    exchanges: list[Exchange]
    lost: bool  # whether the line was lost meanwhile: what was said afterwards is left out


class Transcripts:
    """The transcripts of a deployment's executions."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def of(self, instrument: str, caller: Caller, service_id: str | None = None) -> Recorded:
        """What one execution and an instrument said; of the newest that left a transcript, unless it is named.

        Raises:
            UnknownServiceID: there is no such execution.
            Unavailable: none has left one, it is damaged, or its beginning was too long ago to be kept.
        """
        if service_id is not None:
            records = [self._jobs.record(service_id, caller)]
        else:
            records = [r for r in reversed(self._jobs.list(caller)) if instrument in r.request.instruments]
        for record in records:
            content = self._read(record, f"{instrument}.line.txt", caller)
            if content is None:
                continue
            before = self._read(record, f"{instrument}.line.before.txt", caller) or b""
            if b" -- opened" not in (before or content).partition(b"\n")[0]:
                raise Unavailable(
                    f"{record.request.service_id} and {instrument} said so much that its beginning is not kept: record"
                    " a shorter execution."
                )
            try:
                exchanges = transcript.dialogue(before + content, f"{instrument}.line.txt")
            except transcript.Unreadable as error:
                raise Unavailable(f"The transcript of {record.request.service_id} is damaged: {error}") from error
            return Recorded(record.request.service_id, exchanges, b" -- lost" in before + content)
        if service_id is not None:
            raise UnknownServiceID(f"{service_id} has left no transcript of {instrument}.")
        raise Unavailable(NONE_YET.format(instrument))

    def _read(self, record: Record, file: str, caller: Caller) -> bytes | None:
        path = self._jobs.file(record.name, file, caller)
        if path is None:
            return None
        try:
            with os.fdopen(self._jobs.artifacts.open(path), "rb") as content:
                return content.read()
        except FileNotFoundError:
            return None
