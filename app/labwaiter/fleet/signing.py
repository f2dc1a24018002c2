"""What a lab signs: orders, calls and its links, each for one purpose, with REDIS_SECRET (decision 0014)."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

SEALED_MAX = 32_000_000  # characters: a request has 2 MB at most, and JSON in JSON is several times as long


class Seals:
    """Signs and verifies texts (HMAC-SHA-256, RFC 2104) for one lab."""

    def __init__(self, prefix: str, secret: str) -> None:
        """
        Args:
            prefix: of the lab's keys: two labs of one secret don't take each other's orders.
        """
        self._prefix, self._secret = prefix, secret.encode()

    def sign(self, purpose: str, text: str) -> str:
        """The signature of a text, for this lab and this purpose alone; hexadecimal."""
        message = f"{self._prefix}\0{purpose}\0{text}".encode("utf-8", "surrogatepass")
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()

    @property
    def fingerprint(self) -> str:
        """Of REDIS_SECRET, to see whether all machines have the same."""
        return self.sign("fingerprint", "")[:12]

    def seal(self, purpose: str, text: str) -> str:
        """A JSON object's text with its signature."""
        return json.dumps([text, self.sign(purpose, text)])

    def unseal(self, purpose: str, sealed: str | bytes) -> dict[str, Any] | None:
        """The object, if this lab has signed it for this purpose; None if not."""
        try:
            if len(sealed) > SEALED_MAX:
                return None
            text, signature = json.loads(sealed)
            if not hmac.compare_digest(self.sign(purpose, text).encode(), str(signature).encode()):
                return None
            return dict(json.loads(text))
        except (ValueError, TypeError, RecursionError):
            return None
