"""A session's id says on which machine it is, to this lab's faces alone."""

from __future__ import annotations

from labwaiter.fleet.sessions import id_on, machine_in
from labwaiter.fleet.signing import Seals

OURS = Seals("lab", "sixteen letters and more")


def test_an_id_says_where_its_session_is() -> None:
    first, second = id_on("bench-2.lab", OURS), id_on("bench-2.lab", OURS)
    assert first != second and machine_in(first, OURS) == machine_in(second, OURS) == "bench-2.lab"
    assert machine_in("made-where-there-was-no-Redis", OURS) == ""


def test_a_made_up_id_is_asked_of_no_machine() -> None:
    mine, theirs = id_on("north", OURS), id_on("north", Seals("other", "sixteen letters and more"))
    secret, _, signature = mine.split(".")
    for made_up in (f"{secret}.south.{signature}", f"x{mine}", mine[:-1], f"{secret}.north.", theirs, "a.north.é", "."):
        assert machine_in(made_up, OURS) is None, made_up
