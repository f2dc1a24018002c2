"""The poll's lane: getServiceStatus is nearly all that a service is asked, and Spyne takes its time.

The answer's form is not written here: it's cut from an answer that Spyne gave, at the texts that
differ. So the lane's bytes are Spyne's bytes (tests/soap/test_lane.py).
"""

from __future__ import annotations

import threading

from ..service import Service
from .binding import Binding
from .faults import escaped
from .operations import STATUS, Operations

_SIGN = "labwaiter-text-{}-here"


class Lane:
    """getServiceStatus of one service, without Spyne."""

    def __init__(self, service: Service, operations: Operations) -> None:
        self.service, self.operations = service, operations
        self._pieces: list[bytes] | None = None
        self._turn = threading.Lock()

    def answer(self, texts: dict[str, str | None]) -> bytes:
        """The answer's envelope. Raises errors.ServiceError."""
        status, *outputs = self.operations.call(STATUS, texts)
        pieces = self._pieces or self._cut()
        written = [pieces[0], status.encode(), pieces[1]]  # base64 or a bare word: nothing to escape
        for text, piece in zip(outputs, pieces[2:], strict=True):
            written += [escaped(text).encode(), piece]
        return b"".join(written)

    def _cut(self) -> list[bytes]:
        with self._turn:
            if self._pieces is None:
                signs = [_SIGN.format(n) for n in range(1 + len(self.service.outputs))]
                binding = Binding(self.service, lambda *_: signs)
                whole = binding.answer(STATUS, {"serviceID": "-", "sessionToken": "-"})
                pieces = []
                for sign in signs:
                    piece, _, whole = whole.partition(sign.encode())
                    pieces.append(piece)
                self._pieces = [*pieces, whole]
            return self._pieces
