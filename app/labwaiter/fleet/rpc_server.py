"""What faces ask of this machine: abort, message, remove, read a file, take and STOP instruments.

Done over its own folder, each in a thread. A STOP has a thread and room of its own: it waits for no other call.
"""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..errors import ServiceError, ServiceIDInUse, Unavailable, UnknownServiceID
from ..model.record import Record
from ..store.audit import Audit
from ..store.local_store import LocalStore
from . import operations, rpc
from .calls import (
    Abort,
    AbortAnswer,
    Answer,
    FileList,
    FilePiece,
    ListFiles,
    MachineCall,
    Notify,
    NotifyAnswer,
    NumberedCall,
    Operate,
    Operated,
    ReadFile,
    ReadLog,
    Refusal,
    Remove,
    RemoveAnswer,
)
from .files import PIECE
from .fleet_store import FleetStore
from .publisher import Publisher
from .redis_faults import FAULTS
from .used_calls import UsedCalls

log = logging.getLogger(__name__)
TOGETHER = 100  # most of their time they wait: for a reply, or for a job to be gone
STOPS = 20  # of STOP, likewise
ABORT_WAIT = 7.5  # s
REPLY_WAIT = 0.9  # s for the reply to a message
NOT_YET = "The execution waits for its machine and takes no messages yet; send it again once it runs."
FAILED = "The machine could not do this; its log says why."


class RpcServer:
    """Runs the calls of this machine, in threads, until stopped."""

    def __init__(self, store: FleetStore, local: LocalStore, publisher: Publisher) -> None:
        self.store, self.local, self.publisher = store, local, publisher
        self.settings = local.settings
        self._audit = Audit(local.folder.layout)
        self._used = UsedCalls(local.folder.layout.used_errands)
        self._stop = threading.Event()
        self._pools = ThreadPoolExecutor(TOGETHER, thread_name_prefix="call"), ThreadPoolExecutor(STOPS, "STOP")
        self._threads = [
            threading.Thread(target=self._run, name=name, args=(pool, room, at_once), daemon=True)
            for name, pool, room, at_once in (
                ("rpc server", self._pools[0], threading.Semaphore(TOGETHER), False),
                ("rpc server of STOP", self._pools[1], threading.Semaphore(STOPS), True),
            )
        ]

    def start(self) -> None:
        """Take calls from now on."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End, once those that were taken are done."""
        self._stop.set()
        for thread in self._threads:
            thread.join(5.0)
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)

    def _run(self, pool: ThreadPoolExecutor, room: threading.Semaphore, at_once: bool) -> None:
        while not self._stop.is_set():
            # what waits in Redis can still be taken back by who asked; what was taken is done
            if not room.acquire(timeout=1.0):
                continue
            call = None
            try:
                call = rpc.take(self.store, 1.0, self._used, at_once)
                if call is not None:
                    pool.submit(self._serve, call, room)
            except FAULTS:
                self._stop.wait(1.0)  # the publisher says so already
            except Exception:
                log.exception("a call could not be taken; the next one is")
            finally:
                if call is None:
                    room.release()

    def _serve(self, call: NumberedCall, room: threading.Semaphore) -> None:
        try:
            signed_for = call.number if call.call is not None and call.call.SIGNED else None
            rpc.send_answer(self.store, call.reply_box, self._answer(call), signed_for)
        except FAULTS:
            log.warning("the answer to a call could not be sent")
        finally:
            room.release()

    def _answer(self, call: NumberedCall) -> Answer | Refusal:
        try:
            return self.carry_out(call.call)
        except ServiceError as error:
            return Refusal.of(error)
        except Exception:
            log.exception("a call failed: %s", call.do)
            return Refusal.of(Unavailable(FAILED))

    def carry_out(self, call: MachineCall[Any] | None) -> Answer:
        """Do what is asked. Raises ServiceError."""
        match call:
            case Abort(name, by):
                return self._abort(name, by)
            case Notify(name, message, by):
                return self._notify(name, message, by)
            case Remove(name, by):
                return self._remove(name, by)
            case ListFiles(name, most):
                return FileList(self.local.artifacts.listing(name, most))
            case ReadFile():
                return self._read(call)
            case ReadLog(name, offset, count):
                content, size = self.local.artifacts.log(name, offset, min(count, PIECE))
                return FilePiece(size, 0, content)
            case Operate(name, inputs, caller):
                return self._operate(name, inputs, caller)
        raise Unavailable(operations.NOT_KNOWN)

    def _operate(self, name: str, inputs: str, caller: str) -> Operated:
        try:
            return Operated(operations.carry_out(self.settings, name, inputs, caller))
        finally:
            if name not in operations.ONLY_LOOK:
                self.publisher.tell_instruments()  # before the answer: who is told that it is done sees it done

    def _remember(self, act: str, name: str, record: Record | None, by: str) -> None:
        """In this machine's audit file; the face that asks has remembered it already, with all that it knows of who."""
        known = {"serviceID": record.request.service_id, "service": record.request.service} if record else {}
        self._audit.try_to_add(act, **(known or {"job": name}), face="machine call", by=by)

    def _abort(self, name: str, by: str) -> AbortAnswer:
        try:
            record = self.local.record(name)
        except UnknownServiceID:
            # its order is on its way, and the mark in Redis stops it when it is taken; or it was refused
            return AbortAnswer(gone=False, unknown=True)
        except Unavailable:  # it can't be read, and may run
            self._remember("abort", name, None, by)
            return AbortAnswer(bool(self.local.abort_unread(name, ABORT_WAIT)))
        self._remember("abort", name, record, by)
        gone = self.local.abort(record, ABORT_WAIT, by)
        self.publisher.tell(name)  # before the answer: who is told that it is gone sees it gone
        return AbortAnswer(gone)

    def _notify(self, name: str, message: str, by: str) -> NotifyAnswer:
        try:
            record = self.local.record(name)
        except UnknownServiceID:
            raise Unavailable(NOT_YET) from None
        if not record.active:
            return NotifyAnswer(f"The execution has ended ({record.state}); the message was not delivered.")
        self._remember("notify", name, record, by)
        return NotifyAnswer(self.local.notify(record, message, REPLY_WAIT, by))

    def _remove(self, name: str, by: str) -> RemoveAnswer:
        record = self.local.record(name)
        if record.active:
            raise ServiceIDInUse(f"This execution is {record.state}; abort it first.")
        self._remember("remove", name, record, by)
        self.local.bury(record, by)
        self.publisher.tell(name)
        return RemoveAnswer()

    def _read(self, call: ReadFile) -> FilePiece:
        path = self.local.artifacts.made(call.name, call.file)
        if path is None:
            return FilePiece(None)
        fd = self.local.artifacts.open(path)
        try:
            stat = os.fstat(fd)
            content = os.pread(fd, min(call.count, PIECE), call.offset) if call.count else None
            return FilePiece(stat.st_size, stat.st_mtime_ns, content)
        finally:
            os.close(fd)
