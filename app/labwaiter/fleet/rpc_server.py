"""What faces ask of this machine: abort, message, remove, read a file. Done over its own folder, each in a thread."""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..errors import ServiceError, Unavailable, UnknownServiceID
from ..store.local_store import LocalStore
from . import rpc
from .files import PIECE
from .lab_redis import FAULTS, LabRedis
from .publisher import Publisher
from .used import Used

log = logging.getLogger(__name__)
AT_ONCE = 100  # most of their time they wait: for a reply, or for a job to be gone
ABORT_WAIT = 7.5  # s
NOT_YET = "The execution waits for its machine and takes no messages yet; send it again once it runs."


class RpcServer:
    """Runs the calls of this machine, in threads, until stopped."""

    def __init__(self, store: LabRedis, local: LocalStore, publisher: Publisher) -> None:
        self.store, self.local, self.publisher = store, local, publisher
        self._ways = {
            "abort": self._abort,
            "notify": self._notify,
            "remove": self._remove,
            "files": self._files,
            "read": self._read,
        }
        self._used = Used(local.folder.layout.used_errands)
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
            call = None
            try:
                call = rpc.take(self.store, 1.0, self._used)
                if call is not None:
                    self._pool.submit(self._do, call)
            except FAULTS:
                self._stop.wait(1.0)  # the publisher says so already
            except Exception:
                log.exception("a call could not be taken; the next one is")
            finally:
                if call is None:
                    self._room.release()

    def _do(self, call: dict[str, Any]) -> None:
        try:
            self._carry_out(call)
        finally:
            self._room.release()

    def _carry_out(self, call: dict[str, Any]) -> None:
        content = None
        try:
            said = self._ways.get(call["do"], self._unknown)(call)
            content = said.pop("bytes", None)
        except ServiceError as error:
            said = {"refused": error.message, "side": error.side}
        except Exception:
            log.exception("a call failed: %s", call.get("do"))
            said = {"refused": "The machine could not do this; its log says why.", "side": "Server"}
        try:
            rpc.answer(self.store, call["reply"], said, content)
        except FAULTS:
            log.warning("the answer to a call could not be sent")

    def _unknown(self, call: dict[str, Any]) -> dict[str, Any]:
        return {"refused": "This machine's release does not know how to do that.", "side": "Server"}

    def _abort(self, call: dict[str, Any]) -> dict[str, Any]:
        try:
            record = self.local.record(call["name"])
        except UnknownServiceID:
            # its order is on its way, and the mark in Redis stops it when it is taken; or it was refused
            return {"gone": False, "unknown": True}
        except Unavailable:  # it can't be read, and may run
            return {"gone": bool(self.local.abort_unread(call["name"], ABORT_WAIT))}
        gone = self.local.abort(record, ABORT_WAIT)
        self.publisher.tell(record.name)  # before the answer: who is told that it is gone sees it gone
        return {"gone": gone}

    def _notify(self, call: dict[str, Any]) -> dict[str, Any]:
        try:
            record = self.local.record(call["name"])
        except UnknownServiceID:
            return {"refused": NOT_YET, "side": "Server"}
        if not record.active:
            return {"reply": f"The execution has ended ({record.state}); the message was not delivered."}
        return {"reply": self.local.notify(record, call["message"], 0.9)}

    def _remove(self, call: dict[str, Any]) -> dict[str, Any]:
        try:
            record = self.local.record(call["name"])
        except UnknownServiceID as error:
            return {"refused": error.message, "side": error.side, "unknown": True}
        if record.active:
            return {"refused": f"This execution is {record.state}; abort it first.", "side": "Client"}
        self.local.bury(record)
        self.publisher.tell(record.name)
        return {}

    def _files(self, call: dict[str, Any]) -> dict[str, Any]:
        return {"files": self.local.artifacts.listing(call["name"], int(call["most"]))}

    def _read(self, call: dict[str, Any]) -> dict[str, Any]:
        path = self.local.artifacts.made(call["name"], call["file"])
        if path is None:
            return {"size": None}
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = os.fstat(fd)
            said: dict[str, Any] = {"size": found.st_size, "stamp": found.st_mtime_ns}
            if call["count"]:
                said["bytes"] = os.pread(fd, min(int(call["count"]), PIECE), int(call["offset"]))
            return said
        finally:
            os.close(fd)
