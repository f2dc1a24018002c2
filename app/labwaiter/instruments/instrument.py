"""A driver's base: ask and tell in time, readings with units, limits and age, and a way to be safe."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from .errors import Garbled, InstrumentError, Lost, Silent, WrongDevice
from .line import Line
from .quantity import Quantity, clean

T = TypeVar("T")
EVENTS = 100
BACK_OFF = (0.2, 0.5, 1.0, 2.0)  # s between tries to reconnect; the last one repeats


class Instrument:
    """One device on a line. A driver says how it is spoken to, and how it is made safe."""

    __labwaiter_instrument__ = True  # a service's parameter of this type is an instrument
    identity: ClassVar[tuple[str, str] | None] = None  # what is asked, and a pattern that its answer must match
    line_settings: ClassVar[dict[str, Any]] = {}  # pyserial's, unless lab.toml says otherwise
    terminator: ClassVar[str] = "\n"
    timeout: ClassVar[float] = 2.0  # s for an answer
    # what it answers to a setting: a pattern for the whole line; False: nothing. None: nobody knows, so its identity is
    # asked between a setting and the next question, and what comes before that is nobody's answer; without an identity
    # what comes within `timeout` of a setting is none
    acknowledgement: ClassVar[str | bool | None] = None
    settle: ClassVar[float] = 0.0  # s that it may take to boot when its line is opened, unless lab.toml says otherwise
    greeting: ClassVar[str | None] = None  # a pattern for what it says once it has booted
    unasked: ClassVar[str | None] = None  # a pattern for the lines that it says by itself: these are events, no answers
    may_resume: ClassVar[bool] = True  # whether work goes on after the line was lost and is back
    identified_as: str = ""  # what it last said of itself when it was asked: serial number, firmware, …

    name: str
    line: Line
    events: deque[tuple[float, str]]  # the last lines that it said by itself: Unix time in s, text
    reconnect: float
    check: Callable[[], None]

    def __init__(
        self,
        port: str,
        *,
        name: str = "",
        transcript: Path | None = None,
        check: Callable[[], None] = lambda: None,
        reconnect: float = 10.0,
        rescue: bool = False,
        settle: float | None = None,
        greeting: str | None = None,
        **settings: Any,
    ) -> None:
        """Open the line and see who answers.

        Args:
            port: a device or any URL of pyserial's.
            check: called in every wait; what it raises ends the wait.
            reconnect: seconds in which a lost line must be back.
            rescue: it is opened to be made safe, so it is interrupted in whatever it does.
            settle: seconds that it may take to boot when its line is opened, as boards of the Arduino kind do.
            greeting: a pattern for the line that it says once it has booted.
            settings: pyserial's, and dtr and rts.

        Raises:
            Lost, Silent, WrongDevice: with the instrument's name and what was expected.
        """
        name = name or type(self).__name__
        line = Line(port, name, {**self.line_settings, **settings}, transcript, check)
        self.__dict__.update(name=name, line=line, reconnect=reconnect, check=check)
        if settle is not None or greeting is not None:  # the class's hold otherwise
            self.__dict__.update(
                settle=self.settle if settle is None else settle,
                greeting=self.greeting if greeting is None else greeting,
            )
        self._set_points: dict[str, tuple[Any, str]] = {}  # its set points: the value, and how that was sent
        self._beginning = True
        self._owed = ""  # what it was asked and did not answer in time, or not so that it is understood
        self._unsure: float | None = None  # it was told something, and may acknowledge that until then (monotonic s)
        self._wrong: WrongDevice | None = None  # another device is there: nothing is said to it any more
        self.__dict__["events"] = deque(maxlen=EVENTS)
        self.line.open()
        try:
            if rescue:
                self.interrupt()
            self.begin()
        except BaseException:
            self.line.close()
            raise
        self._beginning = False

    def __setattr__(self, name: str, value: Any) -> None:
        # a misspelt set point must not be lost in silence
        if not name.startswith("_") and not hasattr(type(self), name):
            quantities = {n: q for c in type(self).__mro__ for n, q in vars(c).items() if isinstance(q, Quantity)}
            known = ", ".join(n for n, q in quantities.items() if q.put) or "nothing"
            raise AttributeError(f"{type(self).__name__} has no {name}; what can be set: {known}.")
        super().__setattr__(name, value)

    # -- for drivers --------------------------------------------------------------------------

    def begin(self) -> None:
        """What is done once the line is open: resynchronise and identify."""
        self._drop(0.02)
        if self.identity is None and self.settle:
            self._boot()
        self.identify()

    def identify(self) -> str:
        """Who answers. Other lines are passed over until its time is up. Raises WrongDevice or Silent.

        At the beginning it may be booting: for its `settle` seconds it is asked again and again.
        """
        if self.identity is None:
            return ""
        settle = self.settle if self._beginning else 0.0
        question, expected = self.identity
        answer, greeted = "", self.greeting is None
        until = time.monotonic()  # for the answer to what was asked last
        booted = until + settle
        while (now := time.monotonic()) < until or until <= booted:
            if now >= until:
                self._write(question)
                until = now + self.timeout
            line = self._line(until)
            if line and not greeted and re.search(str(self.greeting), line):
                greeted = True
                until = booted = min(booted, time.monotonic())  # it listens now, so it is asked again at once
            elif line is not None and re.search(expected, line):
                if settle:
                    self._drop(min(0.3, self.timeout))  # what it was asked before that is answered, too, perhaps
                self.identified_as = line
                return line
            answer = line or answer
        boots = "" if settle else " If it boots when its line is opened, give it the time for that: settle in lab.toml."
        if answer:
            raise WrongDevice(
                f"{self.name}: expected a device that answers {question} with {expected}, got “{clean(answer)}”."
                f"{boots if self._beginning else ''}"
            )
        silent = self._silent(question)
        raise Silent(silent.message + boots) if self._beginning else silent

    def _boot(self) -> None:
        """Wait for its greeting, or for as long as it may take to boot."""
        until = time.monotonic() + self.settle
        while (line := self._line(until)) is not None:
            if self.greeting is not None and re.search(self.greeting, line):
                break
        self._drop(0.02)

    def interrupt(self) -> None:
        """Before `begin`, where it is opened to be made safe: end what keeps it from listening. Mostly nothing."""

    def resume(self) -> None:
        """It was away and is back: is it as it was left? Raises Lost if it isn't, e.g. because it was switched off.

        All `control`s that were set are asked; a driver that keeps more in its device asks for that, too.
        """
        for name, (wanted, sent) in self._set_points.items():
            quantity = getattr(type(self), name)
            value = quantity.__get__(self, type(self))
            if not quantity.agrees(value, wanted, sent):
                raise Lost(
                    f"{self.name} is back, but its {name} is {value} instead of {wanted}: was it switched off? The work"
                    " can't go on."
                )

    def ask(self, text: str) -> str:
        """Send a line and have its answer. A lost line is reconnected, and asked again.

        Raises:
            Silent, Garbled: it said nothing, or what can't be read.
            Lost, WrongDevice: it did not come back, or another one came.
        """

        def once() -> str:
            self._send(text)
            return self._answer(text)

        return self.persist(once)

    def tell(self, text: str, acknowledgement: str | bool | None = None) -> None:
        """Send a line that asks for nothing: a setting, a command.

        Args:
            acknowledgement: what the device answers to it, a pattern for the whole line; False: nothing. Without one
                the class's holds.

        Raises:
            Garbled: it answered something else, e.g. that it can't. Silent, Lost, WrongDevice.
        """
        expected = self.acknowledgement if acknowledgement is None else acknowledgement

        def once() -> None:
            if not isinstance(expected, str):
                self._write(text)
                if expected is not False:
                    self._unsure = time.monotonic() + self.timeout
                return
            self._send(text)
            answer = self._answer(text)
            if not re.fullmatch(expected, answer):
                self.doubt(text)
                instead = expected or "an empty line"
                raise Garbled(f"{self.name}: told {text}, it answered “{clean(answer)}” instead of {instead}.")

        self.persist(once)

    def event(self, text: str) -> None:
        """It said a line of the pattern `unasked`. What a driver raises here ends the work; this only keeps it."""
        self.events.append((time.time(), text))

    def _send(self, text: str) -> None:
        """Send what will be answered, on a line on which nothing else comes any more."""
        if self._owed or self._unsure is not None:
            self.synchronise()
        else:
            self._drop()
        self._write(text)

    def _write(self, text: str) -> None:
        self.line.write((text + self.terminator).encode())

    def synchronise(self) -> None:
        """See to it that the next line is the next question's answer, whatever was told, asked or answered before.

        Devices answer in order: what comes before the identity is late, or an acknowledgement. Without an identity, or
        where it is owed itself, a silence must do, until its time for an answer is up. Raises Silent, WrongDevice.
        """
        late, self._owed = self._owed, ""
        unsure = 0.0 if self._unsure is None else max(0.0, self._unsure - time.monotonic())
        try:
            if self.identity is not None:
                self.identify()
                self._drop(self.timeout if late == self.identity[0] else 0.05 if late else 0.0)
            else:
                self._drop(self.timeout if late else unsure)
        except BaseException:
            self._owed = late or self._owed
            raise
        self._unsure = None

    def doubt(self, question: str) -> None:
        """What came was no answer to this: before the next question it is seen to that none is late."""
        self._owed = self._owed or question

    def _answer(self, question: str) -> str:
        answer = self._line(time.monotonic() + self.timeout)
        if answer is None:
            raise self._silent(question)
        return answer

    def _line(self, until: float) -> str | None:
        """The next line that is no event; None if none is complete by then."""
        while True:
            line = self.line.read_line(max(0.0, until - time.monotonic()), self.terminator.encode())
            if line is None:
                return None
            text = line.decode("utf-8", "replace").strip()
            if not self._is_event(text):
                return text

    def _drop(self, quiet: float = 0.0) -> bytes:
        """Throw away what nobody waits for; events among it are kept."""
        stray = self.line.drop(quiet)
        for line in stray.split(self.terminator.encode()):
            self._is_event(line.decode("utf-8", "replace").strip())
        return stray

    def _is_event(self, text: str) -> bool:
        if self.unasked is None or not re.fullmatch(self.unasked, text):
            return False
        self.event(text)
        return True

    def _silent(self, question: str) -> Silent:
        self._owed = self._owed or question
        part = self._drop(0.02)
        sent = f"; it only sent “{clean(part.decode('utf-8', 'replace'))}”" if part.strip() else ""
        return Silent(f"{self.name} did not answer {question} within {self.timeout:g} s{sent}.")

    def persist(self, work: Callable[[], T]) -> T:
        """Do this, and again where the line was lost and is back meanwhile: for drivers that use `self.line`.

        Raises:
            Lost: it did not come back in time, or not as it was. WrongDevice: another one came.
        """
        if self._wrong is not None:  # nothing is said to that device any more
            raise WrongDevice(self._wrong.message)
        try:
            return work()
        except WrongDevice as wrong:
            if not self._beginning:
                self._wrong = wrong
                self.line.close()
            raise
        except Lost as lost:
            if self._beginning or not self.may_resume or not self.reconnect:
                raise
            self._come_back(lost)
            return work()

    def _come_back(self, lost: Lost) -> None:
        """Reconnect with back-off, identify, and see that it is as it was left. Raises Lost, WrongDevice."""
        until, tries, why = time.monotonic() + self.reconnect, 0, ""
        self._beginning = True
        try:
            while True:
                pause = BACK_OFF[min(tries, len(BACK_OFF) - 1)]
                if time.monotonic() + pause > until:
                    raise Lost(
                        f"{self.name} was lost and did not come back within {self.reconnect:g} s. {why}".strip()
                    ) from lost
                self.pause(pause)
                tries += 1
                try:
                    self.line.open()
                    self._owed, self._unsure = "", None
                    self.begin()
                except WrongDevice as wrong:
                    self._wrong = wrong
                    self.line.close()
                    raise
                except InstrumentError as error:
                    why = error.message
                    self.line.close()
                    continue
                self.resume()
                return
        finally:
            self._beginning = False

    def pause(self, seconds: float) -> None:
        """Wait; what `check` raises ends it."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, 0.05))

    # -- safety -------------------------------------------------------------------------------

    def make_safe(self) -> None:
        """Bring it into the state in which it may be left alone. Each driver says how.

        What can't be done raises, and is tried again from outside.
        """
        raise NotImplementedError(f"its driver {type(self).__name__} doesn't say how it is made safe: write make_safe")

    def is_safe(self) -> bool:
        """Whether it is in that state: asked over the line, never assumed."""
        raise NotImplementedError(f"its driver {type(self).__name__} doesn't say whether it is safe: write is_safe")

    def confirmed_safe(self) -> bool:
        """Whether it says twice in turn that it is safe, each time with nothing left on the line that could be an
        acknowledgement, an event or a late answer: this is what is believed of `is_safe`."""
        for _ in range(2):
            if self.acknowledgement is None or self._owed:
                self.doubt("is_safe")
            if not self.is_safe():
                return False
        return True

    # -- in somebody's hands ------------------------------------------------------------------

    def limits(self) -> dict[str, tuple[float | None, float | None]]:
        """The limits of controls that this very instrument has, by their names, where they are not its class's."""
        return {}

    def prepare_readings(self) -> dict[str, str]:
        """Called before all that it declares is read, one after the other: what can't be read now, by name, and why."""
        return {}

    # -- the rest -----------------------------------------------------------------------------

    def close(self) -> None:
        """Give the line up; the instrument stays as it is."""
        self.line.close()

    def __enter__(self) -> Self:
        for verb in ("make_safe", "is_safe"):
            if getattr(type(self), verb) is getattr(Instrument, verb):
                self.close()
                raise InstrumentError(f"{self.name}: its driver {type(self).__name__} has no {verb}: say how in it.")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.make_safe()
            if not self.confirmed_safe():
                raise InstrumentError(f"{self.name} was told to be safe, but says that it is not.")
        finally:
            self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.line.url!r}, name={self.name!r})"
