"""The format of a jobs folder: an older one is taken up, a newer one refused before anything is written."""

import json
from collections.abc import Callable

import pytest

from lab import Lab
from labwaiter import __version__
from labwaiter.errors import Misconfigured
from labwaiter.store import folder_format, supervisor_client

NEWER = {"format": folder_format.FORMAT + 1, "version": "99.0.0"}


def noted(lab: Lab) -> object:
    return json.loads(lab.settings.layout.format.read_text())


def test_the_supervisor_notes_the_format_and_who_it_is(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    lab.supervise()
    assert noted(lab) == {"format": folder_format.FORMAT, "version": __version__}


def test_a_folder_of_a_newer_one_is_refused_in_a_sentence_and_stays_as_it_is(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    lab.store.make(lab.settings.jobs_mode)
    lab.settings.layout.format.write_text(json.dumps(NEWER))
    with pytest.raises(Misconfigured, match=r"was served by labwaiter 99\.0\.0, whose format .* can't read"):
        supervisor_client.ensure(lab.settings)
    with pytest.raises(Misconfigured):
        supervisor_client.may_be_written(lab.settings)
    started = lab.supervise()
    assert started.wait() == 1 and supervisor_client.alive(lab.settings) is None
    assert noted(lab) == NEWER


def test_one_of_this_format_is_served_whichever_version_noted_it(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    lab.store.make(lab.settings.jobs_mode)
    lab.settings.layout.format.write_text(json.dumps(NEWER | {"format": folder_format.FORMAT}))
    lab.supervise()
    assert noted(lab) == {"format": folder_format.FORMAT, "version": __version__}


@pytest.mark.parametrize("content", ["", "[]", '{"format": "x", "version": ""}', "{"])
def test_a_damaged_note_keeps_nobody_from_settling_what_runs(make_lab: Callable[..., Lab], content: str) -> None:
    lab = make_lab()
    lab.store.make(lab.settings.jobs_mode)
    lab.settings.layout.format.write_text(content)
    lab.supervise()
    assert supervisor_client.alive(lab.settings) and noted(lab) != content
