"""Boards that boot when their line is opened, over TCP, where each connection resets one."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labwaiter.instruments import Instrument, Silent, WrongDevice
from labwaiter.instruments.drivers import MarlinPrinter
from labwaiter.instruments.safety import make_safe
from labwaiter.lab import labfile


class Oven(Instrument):
    """In the documents' own style."""

    identity = ("*IDN?", "ACME,T100")
    timeout = 0.3

    def make_safe(self) -> None:
        self.tell("HEAT 0")

    def is_safe(self) -> bool:
        return self.ask("HEAT?") == "0"


class Patient(Oven):
    settle = 3.0


class Greeted(Patient):
    settle = 20.0
    greeting = "Ready"


class Nameless(Oven):
    identity = None  # type: ignore[assignment]
    settle = 20.0
    greeting = "Ready"


class Board:
    """Behind a TCP port: each connection resets it, it hears nothing for `boot` s, then it greets."""

    def __init__(self, boot: float = 0.8, greeting: bytes = b"ACME booting\r\nReady\r\n") -> None:
        self.boot, self.greeting = boot, greeting
        self.heats = False
        self.resets = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = f"socket://127.0.0.1:{self._listening.getsockname()[1]}"
        self._over = False
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._over = True
        self._listening.close()

    def _serve(self) -> None:
        while not self._over:
            try:
                line, _ = self._listening.accept()
            except OSError:
                return
            with line:
                self.resets += 1
                time.sleep(self.boot)  # a bootloader: what came meanwhile is lost
                line.setblocking(False)
                try:
                    line.recv(65536)
                except BlockingIOError:
                    pass
                line.setblocking(True)
                line.sendall(self.greeting)
                rest = b""
                try:
                    while data := line.recv(1000):
                        *words, rest = (rest + data).split(b"\n")
                        for word in words:
                            line.sendall(self._answer(word.strip().decode()))
                except OSError:
                    pass

    def _answer(self, word: str) -> bytes:
        if word == "HEAT 1":
            self.heats = True
        if word == "HEAT 0":
            self.heats = False
        return {"*IDN?": b"ACME,T100,1\r\n", "HEAT?": b"%d\r\n" % self.heats}.get(word, b"")


@pytest.fixture
def board() -> Iterator[Board]:
    one = Board()
    yield one
    one.close()


@pytest.mark.parametrize("driver", [Patient, Greeted, Nameless])
def test_a_board_that_boots_is_waited_for(board: Board, driver: type[Oven]) -> None:
    with driver(board.port, name="oven") as oven:
        assert oven.ask("HEAT?") == "0"
        oven.tell("HEAT 1")
        assert oven.ask("HEAT?") == "1"
        assert oven.ask("HEAT?") == "1"
    assert not board.heats and board.resets == 1


def test_without_that_time_it_is_told_what_to_do(board: Board) -> None:
    with pytest.raises(
        Silent, match="oven did not answer .* If it boots when its line is opened, .*: settle in lab.toml"
    ):
        Oven(board.port, name="oven")


def test_another_device_is_none_however_long_it_boots(board: Board) -> None:
    board._answer = lambda word: b"ACME,TOASTER\r\n"  # type: ignore[method-assign]
    with pytest.raises(WrongDevice, match="got “ACME,TOASTER”"):
        Greeted(board.port, name="oven")


def test_lab_toml_says_it_for_one_instrument(board: Board) -> None:
    oven = Oven(board.port, name="oven", settle=3.0, greeting="Ready")
    assert oven.confirmed_safe()
    oven.close()


def test_one_that_answers_at_once_is_not_waited_for(board: Board) -> None:
    board.boot = 0.0
    began = time.monotonic()
    Greeted(board.port, name="oven").close()
    assert time.monotonic() - began < 10  # of 20


@pytest.mark.parametrize("settle", ["settle = 5\n", 'settle = 20\ngreeting = "Ready"\n'])
def test_it_is_freed_though_making_it_safe_resets_it_anew(board: Board, tmp_path: Path, settle: str) -> None:
    (tmp_path / "lab.toml").write_text(
        f'[instruments.oven]\ndriver = "test_booting:Oven"\nport = "{board.port}"\nsafe = "itself"\n{settle}'
    )
    whole = labfile.load(tmp_path / "lab.toml")
    for _ in range(2):
        board.heats = True
        assert make_safe(whole.entries["oven"], whole, None) == (True, "made safe and read back")
        assert not board.heats
    assert board.resets == 2


class PrinterBoard(Board):
    """A printer's board that says no banner that anybody knows, or none at all."""

    killed = False

    def _answer(self, word: str) -> bytes:
        code = word.partition("*")[0].split()
        code = code[1:] if code and code[0].startswith("N") else code
        if not code or self.killed:
            return b""
        if code[0] == "M112":
            self.killed = True
            return b"Error:Printer halted. kill() called!\n"
        return {"M115": b"FIRMWARE_NAME:Marlin 2\nok\n", "M105": b"ok T:21.0 /0.0\n"}.get(code[0], b"ok\n")


@pytest.mark.parametrize(
    ("greeting", "known"),
    [(b"", {"settle": 1.5}), (b"hello\n", {"settle": 1.5}), (b"hello\n", {"settle": 8.0, "greeting": "hello"})],
)
def test_a_printer_that_boots_without_a_known_banner_is_made_safe_and_not_stopped(
    greeting: bytes, known: dict[str, object]
) -> None:
    board = PrinterBoard(greeting=greeting)
    with MarlinPrinter(board.port, name="printer", rescue=True, **known) as printer:  # type: ignore[arg-type]
        printer.make_safe()
        assert printer.confirmed_safe()
    assert board.resets == 1 and not board.killed
    board.close()


def test_of_one_that_is_no_printer_a_greeting_is_asked_for() -> None:
    board = PrinterBoard(greeting=b"hello\n")
    board._answer = lambda word: b""  # type: ignore[method-assign]

    class Hasty(MarlinPrinter):
        boot_seconds = 1.5

    with pytest.raises(WrongDevice, match="got “hello”. If it says that when it boots, it is its greeting"):
        Hasty(board.port, name="printer", rescue=True)
    board.close()
