"""TOKENS=manager: the platform's authentication manager, well, slow, down and odd."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from labwaiter.authentication import managed_tokens
from labwaiter.authentication.auth_manager import AuthManager
from labwaiter.authentication.managed_tokens import ManagedTokens
from labwaiter.errors import InvalidParameter, ManagerAway, TokenExpired, TokenValidationFailed
from labwaiter.model.caller import Identity, Role
from manager import OPERATIONS, Manager

SECONDS, GRACE = 60.0, 900.0


@pytest.fixture
def make_manager() -> Iterator[Callable[..., Manager]]:
    made: list[Manager] = []

    def make(operations: dict[str, str] = OPERATIONS) -> Manager:
        made.append(Manager(operations))
        made[-1].people["good"] = ("ada", "optics", ("user", "lab chief"))
        return made[-1]

    yield make
    for manager in made:
        manager.close()


@pytest.fixture
def manager(make_manager: Callable[..., Manager]) -> Manager:
    return make_manager()


class Clock:
    """The boot clock, to be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME) + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(managed_tokens, "boot_clock", clock)
    monkeypatch.setattr(managed_tokens, "FIRST_WAIT", 60.0)  # a busy machine's answer counts, too …
    monkeypatch.setattr(managed_tokens, "AGAIN_WAIT", 60.0)
    return clock


def tokens_of(manager: Manager, *allowed: str, seconds: float = 5.0, operators: tuple[str, ...] = ()) -> ManagedTokens:
    """As a deployment makes them, which waits for `seconds` for the network."""
    return ManagedTokens(manager.wsdl, allowed, SECONDS, GRACE, lambda wsdl: AuthManager(wsdl, seconds, operators))


def test_a_good_token_tells_who_has_it_and_a_bad_one_is_refused(manager: Manager, clock: Clock) -> None:
    tokens = tokens_of(manager)
    assert tokens.identify("good") == Identity("ada", "optics", Role.USER, manager.wsdl)
    with pytest.raises(TokenValidationFailed, match="not accepted"):
        tokens.identify("bad")


def test_older_managers_have_no_getTokenInfo(make_manager: Callable[..., Manager], clock: Clock) -> None:
    manager = make_manager({name: kind for name, kind in OPERATIONS.items() if name != "getTokenInfo"})
    identity = tokens_of(manager, operators=("lab chief",)).identify("good")
    assert identity == Identity("ada", "optics", Role.OPERATOR, manager.wsdl)


def test_polls_ask_nobody_while_the_last_answer_is_young(manager: Manager, clock: Clock) -> None:
    tokens = tokens_of(manager)
    for _ in range(20):
        tokens.identify("good")
        with pytest.raises(TokenValidationFailed):
            tokens.identify("bad")
    assert manager.count() == 2
    clock.ahead = managed_tokens.NO_SECONDS + 1  # a no is kept for less: a token may just have been made
    manager.people["bad"] = ("bob", "optics", ())
    assert tokens.identify("good") and tokens.identify("bad").user == "bob" and manager.count() == 3


def test_a_token_that_has_run_out_is_refused_when_it_is_asked_again_and_says_whose_it_was(
    manager: Manager, clock: Clock
) -> None:
    tokens = tokens_of(manager)
    tokens.identify("good")
    del manager.people["good"]
    assert tokens.identify("good").user == "ada"
    clock.ahead = SECONDS + 1
    for _ in range(2):
        with pytest.raises(TokenExpired) as refused:
            tokens.identify("good")
        assert refused.value.identity.user == "ada"


@pytest.mark.parametrize("mood", ["fault", "TRUE", "yes", "2", "", "<x/>true", "tru<!-- -->", "truetrue"])
def test_only_a_plain_true_is_a_yes(
    manager: Manager, clock: Clock, mood: str, caplog: pytest.LogCaptureFixture
) -> None:
    manager.mood = mood or " "
    tokens = tokens_of(manager)
    with pytest.raises(ManagerAway, match="does not answer"):
        tokens.identify("good")
    assert "good" not in caplog.text.replace("is good", "")  # the token itself


def test_while_it_is_down_who_was_let_in_goes_on_for_a_grace_and_nobody_else(
    manager: Manager, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = tokens_of(manager)
    manager.people["other"] = ("bob", "optics", ())
    tokens.identify("good")
    manager.close()
    clock.ahead = SECONDS + 1
    assert tokens.identify("good").user == "ada"
    with pytest.raises(ManagerAway):
        tokens.identify("other")
    clock.ahead = SECONDS + GRACE + 1
    with pytest.raises(ManagerAway):
        tokens.identify("good")
    assert "gives no answer" in caplog.text and "other" not in caplog.text.replace("another", "")


def test_when_it_is_there_again_it_is_asked_again(manager: Manager, clock: Clock) -> None:
    tokens = tokens_of(manager)
    manager.mood = "fault"
    with pytest.raises(ManagerAway):
        tokens.identify("good")
    manager.mood = ""
    with pytest.raises(ManagerAway):  # for some seconds nobody waits for it again
        tokens.identify("good")
    assert manager.count() == 1
    clock.ahead = managed_tokens.AWAY_SECONDS + 1
    assert tokens.identify("good").user == "ada"


def test_polls_do_not_queue_behind_one_that_hangs(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(managed_tokens, "boot_clock", clock)
    tokens = tokens_of(manager, seconds=60.0)
    while "good" not in tokens_seen(tokens):
        time.sleep(0.01)
    manager.mood = "hang"
    clock.ahead = SECONDS + 1
    took: list[float] = []

    def poll(token: str) -> None:
        began = time.monotonic()
        try:
            tokens.identify(token)
        except ManagerAway:
            token = "refused"
        if token == "good":
            took.append(time.monotonic() - began)

    threads = [threading.Thread(target=poll, args=(t,)) for t in ("good", *(f"new {n}" for n in range(20)), "good")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(took) == 2 and manager.count() <= 1 + managed_tokens.ASKING_MAX
    assert max(took) < managed_tokens.FIRST_WAIT  # whoever isn't known waits that long, and they held up nobody
    manager.go_on.set()


def tokens_seen(tokens: ManagedTokens) -> set[str]:
    """Whether the manager has let `good` in: a busy machine may take several tries."""
    try:
        tokens.identify("good")
    except ManagerAway:
        return set()
    return {"good"}


def test_many_at_once_with_one_token_ask_once(manager: Manager, clock: Clock) -> None:
    tokens, people = tokens_of(manager), []
    threads = [threading.Thread(target=lambda: people.append(tokens.identify("good"))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(people) == 20 and manager.count() == 1


def test_after_a_start_all_tokens_come_at_once_and_none_is_refused_for_that(manager: Manager, clock: Clock) -> None:
    for number in range(40):
        manager.people[f"good {number}"] = (f"user {number}", "optics", ())
    tokens, people = tokens_of(manager), set()
    threads = [threading.Thread(target=lambda n=n: people.add(tokens.identify(f"good {n}").user)) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(people) == 40 and manager.count() == 40


def test_that_it_was_somebody_s_is_not_forgotten_for_a_flood_of_wrong_ones(
    manager: Manager, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed_tokens, "REFUSED_MAX", 5)
    tokens = tokens_of(manager)
    tokens.identify("good")
    del manager.people["good"]
    clock.ahead = SECONDS + 1
    for number in range(20):
        with pytest.raises(TokenExpired):
            tokens.identify("good")
        with pytest.raises(TokenValidationFailed):
            tokens.identify(f"bad {number}")
    clock.ahead += managed_tokens.NO_SECONDS
    with pytest.raises(TokenExpired):
        tokens.identify("good")


def test_a_call_that_names_no_manager_is_judged_by_whichever_knows_its_token(
    make_manager: Callable[..., Manager], clock: Clock
) -> None:
    ours, second = make_manager(), make_manager()
    second.people["other"] = ("bob", "optics", ())
    tokens = tokens_of(ours, second.wsdl)
    assert tokens.identify("good").authority == ours.wsdl and second.asked == []  # it isn't told others' tokens
    for _ in range(2):
        assert tokens.identify("other") == Identity("bob", "optics", Role.USER, second.wsdl)
    assert ours.count() == 2
    clock.ahead = SECONDS + 1
    assert tokens.identify("other").user == "bob" and ours.count() == 2  # who let it in before is asked first
    with pytest.raises(TokenValidationFailed):
        tokens.identify("bad")
    ours.close()
    clock.ahead = 2 * SECONDS + 2
    assert tokens.identify("other").user == "bob"
    with pytest.raises(ManagerAway):  # nobody can say
        tokens.identify("new")


def test_a_call_does_not_name_its_own_judge(make_manager: Callable[..., Manager], clock: Clock) -> None:
    ours, second, stranger = make_manager(), make_manager(), make_manager()
    tokens = tokens_of(ours, second.wsdl)
    stranger.people["evil"] = second.people["other"] = ("eve", "optics", ())
    with pytest.raises(InvalidParameter, match="AUTH_ALLOWED"):
        tokens.identify("evil", stranger.wsdl)
    assert stranger.asked == []
    assert tokens.identify("other", second.wsdl) == Identity("eve", "optics", Role.USER, second.wsdl)
    with pytest.raises(TokenValidationFailed):
        tokens.identify("other", ours.wsdl)  # what is good there is not so here


def test_wrong_tokens_drive_out_no_good_one(manager: Manager, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managed_tokens, "REFUSED_MAX", 5)
    tokens = tokens_of(manager)
    tokens.identify("good")
    for number in range(20):
        with pytest.raises(TokenValidationFailed):
            tokens.identify(f"bad {number}")
    manager.close()
    assert tokens.identify("good").user == "ada"


@pytest.mark.parametrize("person", [("", "optics"), ("ada", ""), ("a\nb", "optics"), ("a" * 300, "optics")])
def test_without_a_name_nobody_is_let_in(manager: Manager, clock: Clock, person: tuple[str, str]) -> None:
    manager.people["good"] = (*person, ())
    with pytest.raises(ManagerAway):
        tokens_of(manager).identify("good")


def test_no_token_reaches_the_log(manager: Manager, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    tokens = tokens_of(manager)
    manager.people["s3cret"] = ("ada", "optics", ())
    tokens.identify("s3cret")
    manager.mood = "fault"
    with pytest.raises(ManagerAway):
        tokens.identify("s3cret too")
    assert "s3cret" not in caplog.text
