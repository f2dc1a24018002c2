"""Grower: what its caller gets."""

from labwaiter.testing import Lab


def test_a_crystal_grows_to_its_height(lab: Lab) -> None:
    assert lab.run("Grower", height=20).outputs == {"result": "a crystal of 20 mm"}


def test_an_abort_ends_it(lab: Lab) -> None:
    growing = lab.start("Grower")
    assert growing.abort()
    assert growing.aborted
