"""The socket by which tasks use their session's instruments."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab import PATIENCE
from labwaiter.errors import SessionOver
from labwaiter.instruments.errors import Lost, Overflow
from labwaiter.instruments.quantity import Reading
from labwaiter.runner import task_line
from labwaiter.runner.task_line import LineToSession, RemoteInstrument, TaskLine, pack, unpack
from labwaiter.system.watch import until


class Device:
    """As a driver is to whoever uses it."""

    volts = 1.0

    @property
    def current(self) -> Reading:
        return Reading(0.02, "A")

    @property
    def range(self) -> float:
        raise Overflow("meter is out of its range.")

    @property
    def port(self) -> object:
        return object()

    @property
    def gone(self) -> float:
        raise Lost("meter: its line is gone.")

    def trace(self, points: int, scale: float = 1) -> list[float]:
        return [scale * point for point in range(points)]


class Served:
    """A line with a session's end that is served by a thread."""

    def __init__(self, folder: Path) -> None:
        self.device, self.made_safe = Device(), 0
        opened: Any = SimpleNamespace(device=self.device, make_safe=self._make_safe, is_safe=lambda: True)
        self.line, self.folder, self._over = TaskLine(folder, {"meter": opened}), folder, False
        self.failed: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _make_safe(self) -> None:
        self.made_safe += 1

    def _serve(self) -> None:
        try:
            while not self._over:
                until(self.folder, lambda: self.line.has_come() or self._over, 0.2, self.line.descriptors)
                self.line.serve()
        except BaseException as error:
            self.failed = error

    def close(self) -> None:
        self._over = True
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    one = Served(tmp_path)
    yield one
    one.close()


def test_a_driver_is_used_as_if_it_were_here(served: Served) -> None:
    meter = RemoteInstrument(LineToSession(served.folder, "task-1"), "meter")
    meter.volts = 2.5
    assert served.device.volts == 2.5 == meter.volts
    assert meter.current == 0.02 and meter.current.unit == "A" and meter.current.age >= 0
    assert meter.trace(3, scale=2) == [0, 2, 4]
    assert meter.trace(200_000)[-1] == 199_999  # larger than what a socket takes at once
    with pytest.raises(Overflow, match="out of its range"):
        _ = meter.range
    with pytest.raises(AttributeError):
        _ = meter.nothing
    with pytest.raises(TypeError, match="a task is given values only"):
        _ = meter.port
    with pytest.raises(AttributeError, match="names that don't begin with _"):
        meter._volts = 3
    assert stat.S_IMODE(os.stat(served.folder / "tasks.line").st_mode) == 0o600


def test_names_that_begin_with_an_underscore_are_refused_at_the_line_s_own_end(served: Served) -> None:
    line = LineToSession(served.folder, "task-1")
    orders: list[dict[str, Any]] = [
        {"get": "__class__"},
        {"set": "_x", "value": 1},
        {"call": "__init__", "args": [], "kwargs": {}},
    ]
    for order in orders:
        with pytest.raises(AttributeError, match=r"meter: a task uses names that don't begin with _\."):
            line.ask({"on": "meter", **order})
    with pytest.raises(KeyError, match="no instrument heater"):
        line.ask({"on": "heater", "get": "volts"})


def test_a_task_that_does_not_call_holds_up_nobody(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_line, "SEND_SECONDS", None)  # who waited for it would wait for ever
    idle = LineToSession(served.folder, "task-1")
    meter = RemoteInstrument(LineToSession(served.folder, "task-2", patience=PATIENCE), "meter")
    assert meter.volts == 1.0 and meter.volts == 1.0
    idle.close()


def test_an_answer_to_a_call_that_was_given_up_is_passed_over(served: Served) -> None:
    line = LineToSession(served.folder, "task-1")
    line._channel.send({"n": 0, "on": "meter", "get": "volts"})  # whose answer nobody has waited for
    assert line.ask({"on": "meter", "get": "trace"}) == {"n": 1, "method": True}


def test_only_what_a_task_has_used_is_made_safe_after_it(served: Served) -> None:
    RemoteInstrument(LineToSession(served.folder, "task-1"), "meter").volts = 2
    guard = LineToSession(served.folder, patience=PATIENCE)
    assert guard.ask({"make safe after": "task-2"})["value"] == [] and served.made_safe == 0
    assert guard.ask({"make safe after": "task-1"})["value"] == ["meter"] and served.made_safe == 1


def test_a_line_that_is_lost_ends_the_session_whoever_caught_it(served: Served) -> None:
    meter = RemoteInstrument(LineToSession(served.folder, "task-1"), "meter")
    with pytest.raises(Lost, match="its line is gone"):
        _ = meter.gone
    served.close()
    assert isinstance(served.failed, Lost)
    with pytest.raises(Lost):
        served.line.serve()


def test_where_no_session_is_a_sentence_says_so(tmp_path: Path) -> None:
    with pytest.raises(SessionOver, match="The session is over"):
        LineToSession(tmp_path)


def test_values_keep_their_kind_on_the_line() -> None:
    value = {"reading": [1, 2.5, None, True], "dict": {"text": "Ω"}, "read": Reading(1.5, "V")}
    again = unpack(pack(value))
    assert again == value and again["read"].unit == "V"
