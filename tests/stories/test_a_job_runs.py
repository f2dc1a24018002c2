"""What a caller notices when all goes well."""

import threading
from pathlib import Path

import pytest

from lab import Lab, eventually
from labwaiter.errors import InvalidParameter, MissingParameter, ServiceIDInUse, UnknownServiceID
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State


def test_a_function_gives_its_outputs_to_everyone_who_asks_as_often_as_they_ask(lab: Lab) -> None:
    asked = {"text": "é 漢字 😀 <&>\"'\nand a second line", "number": "12", "flag": "true", "colour": "red"}
    lab.start("Echo", "one", **asked)
    lab.ended("one")
    answers = [lab.status("Echo", "one") for _ in range(3)]
    assert all(a.completed for a in answers)
    expected = {"text": asked["text"], "number": 12, "fraction": 0.5, "flag": True, "colour": "red"}
    assert [a.outputs for a in answers] == [expected] * 3


def test_before_the_end_the_outputs_hold_placeholders_of_their_types(lab: Lab) -> None:
    first = lab.start("Echo", "one", text="x")
    assert not first.completed
    assert first.outputs == {"text": "UNSET", "number": 0, "fraction": 0.0, "flag": False, "colour": "red"}


@pytest.mark.parametrize("service", ["Unruly", "UnrulyScript"])
def test_a_program_that_says_100_percent_is_not_completed_before_its_result_is_there(lab: Lab, service: str) -> None:
    lab.start(service, "one", word="hundred-but-running")
    assert lab.file("one", "status.txt") == "100"
    polled = lab.status(service, "one")
    assert not polled.completed
    assert polled.outputs == {"result": "UNSET"}
    assert polled.view.progress.fraction == 1.0
    (lab.folder("one") / "go").touch()
    lab.ended("one")
    assert lab.status(service, "one").outputs == {"result": "late"}


@pytest.mark.parametrize("service", ["Unruly", "UnrulyScript"])
def test_a_program_that_left_its_result_has_completed_whatever_it_said_last(lab: Lab, service: str) -> None:
    lab.start(service, "one", word="result-without-status")
    assert lab.ended("one").state is State.COMPLETED
    assert lab.status(service, "one").outputs == {"result": "fine"}


@pytest.mark.parametrize("said", ["abc", "150", "", "-1", "1_0", "٣", "nan"])
def test_nonsense_in_the_status_file_means_only_that_the_progress_is_not_known(shared_lab: Lab, said: str) -> None:
    lab, name = shared_lab, f"nonsense {said}"
    lab.start("Unruly", name, word=f"says:{said}")
    eventually((lab.folder(name) / "status.txt").is_file)
    polled = lab.status("Unruly", name)
    assert polled.view.record.state is State.RUNNING
    assert polled.view.progress.fraction is None
    (lab.folder(name) / "go").touch()
    assert lab.ended(name).state is State.COMPLETED


@pytest.mark.parametrize(
    ("said", "fraction"),
    [("33.333333333333336", 1 / 3), ("7 %\n", 0.07), ("0.1000000000000000055511151231257827", 0.001)],
)
def test_a_percent_is_read_with_as_many_decimals_as_programs_write(shared_lab: Lab, said: str, fraction: float) -> None:
    lab, name = shared_lab, f"decimals {said}"
    lab.start("Unruly", name, word=f"says:{said}")
    lab.file(name, "status.txt")
    assert lab.status("Unruly", name).view.progress.fraction == pytest.approx(fraction)
    (lab.folder(name) / "go").touch()
    assert lab.ended(name).state is State.COMPLETED


def test_the_waiter_of_the_tutorial_finishes_and_an_abort_message_ends_it_early(lab: Lab, make_lab: object) -> None:
    from here import ROOT

    waiter = make_lab(lab.root.parent / "waiters", ROOT / "app" / "services")  # type: ignore[operator]
    waiter.supervise()
    waiter.start("Waiter", "short", secondsToWait="0")
    waiter.start("Waiter", "long", secondsToWait="3600")
    waiter.ended("short")
    assert waiter.status("Waiter", "short").outputs == {"result": "FINISHED"}
    waiter.file("long", "status.txt")
    assert waiter.jobs.notify(waiter.services["Waiter"], "long", "ABORT", SHELL, wait=0) == "1"
    waiter.ended("long")
    assert waiter.status("Waiter", "long").outputs == {"result": "ABORTED"}


def test_messages_reach_the_job_and_its_replies_the_caller(lab: Lab) -> None:
    talk = lab.services["Talk"]
    lab.start("Talk", "one")
    lab.running("one")
    said = "é 漢字 😀 <&>\"'\nsecond line\rthird"
    assert lab.jobs.notify(talk, "one", said, SHELL, wait=10) == f"you said {said}"
    assert lab.jobs.notify(talk, "one", "bye", SHELL, wait=10) in ("you said bye", "2")
    lab.ended("one")
    assert lab.status("Talk", "one").outputs == {"result": f"{said}|bye"}
    assert "was not delivered" in lab.jobs.notify(talk, "one", "anybody?", SHELL)


def test_a_message_without_a_reply_gives_its_number(lab: Lab) -> None:
    lab.start("Unruly", "one", word="sleep")
    lab.running("one")
    numbers = [lab.jobs.notify(lab.services["Unruly"], "one", f"hello {n}", SHELL, wait=0) for n in range(3)]
    assert numbers == ["1", "2", "3"]
    assert lab.file("one", "notifications.txt") == "hello 0\nhello 1\nhello 2\n"


def test_two_hundred_starts_of_one_service_id_make_one_process_and_one_record(lab: Lab, tmp_path: Path) -> None:
    register = tmp_path / "register"
    together = threading.Barrier(200)
    answers: list[object] = []

    def start() -> None:
        together.wait()
        try:
            answers.append(lab.start("Once", "the one", register=str(register)).view.record.request.service_id)
        except Exception as error:
            answers.append(error)

    racers = [threading.Thread(target=start) for _ in range(200)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    lab.ended("the one")
    assert answers == ["the one"] * 200
    assert len(register.read_text().splitlines()) == 1
    assert len(list(lab.store.names())) == 1


def test_two_hundred_jobs_at_once_each_get_their_own_result(lab: Lab) -> None:
    for number in range(200):
        lab.start("Echo", f"job {number}", text=f"text {number}", number=number)
    for number in range(200):
        lab.ended(f"job {number}")
        outputs = lab.status("Echo", f"job {number}").outputs
        assert (outputs["text"], outputs["number"]) == (f"text {number}", number)


def test_the_same_start_again_is_the_same_execution_and_other_inputs_are_refused(lab: Lab) -> None:
    lab.start("Echo", "one", text="x", number="7")
    lab.ended("one")
    assert lab.start("Echo", "one", text="x").completed  # 7 is the default
    with pytest.raises(ServiceIDInUse, match="other inputs"):
        lab.start("Echo", "one", text="y")
    with pytest.raises(ServiceIDInUse, match="Echo"):
        lab.start("Steps", "one")
    with pytest.raises(UnknownServiceID):
        lab.status("Steps", "one")


@pytest.mark.parametrize(
    ("inputs", "error", "words"),
    [
        ({}, MissingParameter, "text is missing"),
        ({"text": "  "}, MissingParameter, "text is empty"),
        ({"text": "x", "number": "1_0"}, InvalidParameter, "whole number"),
        ({"text": "x", "number": "٣"}, InvalidParameter, "whole number"),
        ({"text": "x", "number": "9" * 30}, InvalidParameter, f"between -5 and 1000, not “{'9' * 30}”"),
        ({"text": "x", "number": "-" + "9" * 5000}, InvalidParameter, "whole number, not “-9999"),
        ({"text": "x", "number": ""}, InvalidParameter, "default 7"),
        ({"text": "x", "number": "1001"}, InvalidParameter, "between -5 and 1000"),
        ({"text": "x", "fraction": "nan"}, InvalidParameter, "a number"),
        ({"text": "x", "fraction": "2"}, InvalidParameter, "between 0 and 1 bar"),
        ({"text": "x", "flag": "yes"}, InvalidParameter, "true or false"),
        ({"text": "x", "colour": "blue"}, InvalidParameter, "red, green"),
        ({"text": "x" * 5001}, InvalidParameter, "5001 characters"),
        ({"text": "x", "volume": "11"}, InvalidParameter, "no input “volume”"),
    ],
)
def test_a_wrong_input_is_refused_in_a_sentence_and_leaves_nothing(
    shared_lab: Lab, inputs: dict[str, str], error: type, words: str
) -> None:
    before = {*shared_lab.store.names()}
    with pytest.raises(error, match=words):
        shared_lab.start("Echo", "refused", **inputs)
    assert {*shared_lab.store.names()} == before


def test_a_service_s_own_check_refuses_before_anything_is_recorded(lab: Lab) -> None:
    with pytest.raises(InvalidParameter, match="must be an STL"):
        lab.start("Fussy", "one", file="cube.obj")
    assert not list(lab.store.names())
    lab.start("Fussy", "one", file="cube.stl")


@pytest.mark.parametrize(
    "service_id",
    ["a/b", "..", ".", ".hidden", "../../etc/passwd", "with space", "line\nbreak", "漢字", "😀", "x" * 300, "漢" * 100,
     ".labwaiter", "%2E", "~", "a~b", "active", "request.json", "x" * 1000],
)  # fmt: skip
def test_any_text_is_a_service_id_and_nothing_is_written_outside_the_jobs_folder(
    shared_lab: Lab, service_id: str
) -> None:
    lab = shared_lab
    before, names = set(lab.root.parent.iterdir()), {*lab.store.names()}
    lab.start("Echo", service_id, text=service_id[:4000])
    lab.ended(service_id)
    assert lab.status("Echo", service_id).outputs["text"] == service_id
    assert set(lab.root.parent.iterdir()) == before
    assert len({*lab.store.names()} - names) == 1


def test_no_two_service_ids_share_a_folder() -> None:
    from labwaiter.store.names import folder_name

    ids = [
        "a",
        "A",
        "a/b",
        "a%2Fb",
        ".a",
        "%2Ea",
        "~",
        "%7E",
        "x" * 181,
        "x" * 182,
        "漢" * 60,
        "漢" * 61,
        "a b",
        "a+b",
    ]
    names = [folder_name(i) for i in ids]
    assert len(set(names)) == len(ids)
    assert all(len(name.encode()) <= 180 and "/" not in name and name[0] != "." for name in names)


@pytest.mark.parametrize("service_id", ["", "   ", "\n"])
def test_a_blank_service_id_is_refused(shared_lab: Lab, service_id: str) -> None:
    with pytest.raises(MissingParameter, match="serviceID"):
        shared_lab.start("Echo", service_id, text="x")


def test_a_service_id_beyond_all_measure_is_refused(shared_lab: Lab) -> None:
    with pytest.raises(InvalidParameter, match="1001 characters"):
        shared_lab.start("Echo", "x" * 1001, text="x")


def test_each_job_draws_random_numbers_of_its_own_unless_they_were_seeded(lab: Lab) -> None:
    drawn = []
    for name in "abc":
        lab.start("Dice", name)
        lab.ended(name)
        drawn.append(lab.status("Dice", name).outputs["result"].split())
    own, seeded, modules = (set(column) for column in zip(*drawn, strict=True))
    assert (len(own), len(seeded), len(modules)) == (3, 1, 3)


def test_a_start_repeated_after_an_input_was_appended_is_still_the_same(lab: Lab) -> None:
    from dataclasses import replace

    from labwaiter.model.parameter import Parameter

    lab.start("Steps", "one")
    lab.ended("one")
    old = lab.services["Steps"]
    new = replace(old, inputs=(*old.inputs, Parameter("added", "int", mandatory=False, default=3)))
    assert lab.jobs.start(new, "one", {}, SHELL).completed
    with pytest.raises(ServiceIDInUse):
        lab.jobs.start(new, "one", {"added": "4"}, SHELL)
