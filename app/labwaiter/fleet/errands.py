"""What faces ask of this machine: abort, message, remove, read a file. Done over its own folder, each in a thread."""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..errors import ServiceError, UnknownServiceID
from ..jobs.here import Here
from . import post
from .files import PIECE
from .mirror import Mirror
from .store import FAULTS, Store

log = logging.getLogger(__name__)
AT_ONCE = 16
ABORT_WAIT = 7.5  # s
NOT_YET = "The execution waits for its machine and takes no messages yet; send it again once it runs."


class Errands:
    """Runs the errands of this machine, in threads, until stopped."""

    def __init__(self, store: Store, here: Here, mirror: Mirror) -> None:
        self.store, self.here, self.mirror = store, here, mirror
        self._ways = {
            "abort": self._abort,
            "notify": self._notify,
            "remove": self._remove,
            "files": self._files,
            "read": self._read,
        }
        self._stop = threading.Event()
        self._room = threading.Semaphore(AT_ONCE)
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="errand")
        self._thread = threading.Thread(target=self._run, name="errands", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End, once those that were taken are done."""
        self._stop.set()
        self._thread.join(5.0)
        self._pool.shutdown(cancel_futures=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            # what waits in Redis can still be taken back by who asked; what was taken is done
            if not self._room.acquire(timeout=1.0):
                continue
            errand = None
            try:
                errand = post.take(self.store, 1.0)
                if errand is not None:
                    self._pool.submit(self._do, errand)
            except FAULTS:
                self._stop.wait(1.0)  # the mirror says so already
            except Exception:
                log.exception("an errand could not be taken; the next one is")
            finally:
                if errand is None:
                    self._room.release()

    def _do(self, errand: dict[str, Any]) -> None:
        try:
            self._carry_out(errand)
        finally:
            self._room.release()

    def _carry_out(self, errand: dict[str, Any]) -> None:
        content = None
        try:
            said = self._ways.get(errand["do"], self._unknown)(errand)
            content = said.pop("bytes", None)
        except ServiceError as error:
            said = {"refused": error.message, "side": error.side}
        except Exception:
            log.exception("an errand failed: %s", errand.get("do"))
            said = {"refused": "The machine could not do this; its log says why.", "side": "Server"}
        try:
            post.answer(self.store, errand["reply"], said, content)
        except FAULTS:
            log.warning("the answer to an errand could not be sent")

    def _unknown(self, errand: dict[str, Any]) -> dict[str, Any]:
        return {"refused": "This machine's release does not know how to do that.", "side": "Server"}

    def _abort(self, errand: dict[str, Any]) -> dict[str, Any]:
        try:
            record = self.here.record(errand["name"])
        except UnknownServiceID:
            # its order is on its way, and the mark in Redis stops it when it is taken; or it was refused
            return {"gone": False, "unknown": True}
        gone = self.here.abort(record, ABORT_WAIT)
        self.mirror.tell(record.name)  # before the answer: who is told that it is gone sees it gone
        return {"gone": gone}

    def _notify(self, errand: dict[str, Any]) -> dict[str, Any]:
        try:
            record = self.here.record(errand["name"])
        except UnknownServiceID:
            return {"refused": NOT_YET, "side": "Server"}
        if not record.active:
            return {"reply": f"The execution has ended ({record.state}); the message was not delivered."}
        return {"reply": self.here.notify(record, errand["message"], 0.9)}

    def _remove(self, errand: dict[str, Any]) -> dict[str, Any]:
        try:
            record = self.here.record(errand["name"])
        except UnknownServiceID as error:
            return {"refused": error.message, "side": error.side, "unknown": True}
        if record.active:
            return {"refused": f"This execution is {record.state}; abort it first.", "side": "Client"}
        self.here.bury(record)
        self.mirror.tell(record.name)
        return {}

    def _files(self, errand: dict[str, Any]) -> dict[str, Any]:
        return {"files": self.here.exchange.listing(errand["name"], int(errand["most"]))}

    def _read(self, errand: dict[str, Any]) -> dict[str, Any]:
        path = self.here.exchange.made(errand["name"], errand["file"])
        if path is None:
            return {"size": None}
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = os.fstat(fd)
            said: dict[str, Any] = {"size": found.st_size, "stamp": found.st_mtime_ns}
            if errand["count"]:
                said["bytes"] = os.pread(fd, min(int(errand["count"]), PIECE), int(errand["offset"]))
            return said
        finally:
            os.close(fd)
