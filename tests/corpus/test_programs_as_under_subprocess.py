"""Every program of the corpus, by subprocess.run, as a service's Command and by job.run: the same comes of it."""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from comparing import differences, of_run, printed_by_run
from program_table import CASES, FILES, Case
from ways import Came, Corpus, told_well

from labwaiter.model.record import State


@pytest.fixture(scope="module")
def tools(corpus: Corpus) -> Path:
    """The small programs, and what each case is."""
    folder = corpus.root / "tools"
    for name, (text, mode) in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(mode)
    (corpus.services / "programs").mkdir()
    for case in CASES:
        how = {"command": words(case, folder), "environment": variables(case, folder), "folder": case.folder}
        (corpus.services / "programs" / f"{case.name}.json").write_text(json.dumps(how))
    return folder


def words(case: Case, tools: Path) -> list[str]:
    return [word.replace("TOOLS", str(tools)) for word in case.command]


def variables(case: Case, tools: Path) -> dict[str, object]:
    return {n: v.replace("TOOLS", str(tools)) if isinstance(v, str) else v for n, v in case.environment.items()}


def by_subprocess(corpus: Corpus, case: Case, tools: Path) -> Came:
    texts = {name: str(value) for name, value in variables(case, tools).items()}
    return corpus.plainly(f"program-{case.name}", words(case, tools), case.folder, texts, case.tidy)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_program_does_what_it_does_under_subprocess(corpus: Corpus, tools: Path, case: Case) -> None:
    none = "" if case.leaves_result else "None"
    with ThreadPoolExecutor() as at_once:
        plainly = at_once.submit(by_subprocess, corpus, case, tools)
        ways = {
            way: at_once.submit(corpus.by_job, f"{service}{none}", f"{case.name} {way}", case.tidy, case=case.name)
            for way, service in (("commanded", "Commanded"), ("ran", "RanCommand"))
        }
    plain = plainly.result()
    found = {way: future.result() for way, future in ways.items()}
    found["ran"] = of_run(plain, found["ran"])
    wrong = [f"{way}: {line}" for way, one in found.items() for line in differences(plain, one)]
    if plain.status:
        wrong += [f"{way}: {found[way].why}" for way in ways if not told_well(found[way].why, plain.status)]
    else:
        wrong += printed_by_run(corpus, f"{case.name} ran", plain, case.tidy)
    if wrong:
        pytest.fail("\n".join(["It differs from subprocess.run:", *wrong]), pytrace=False)


END_143 = "exit 143 # sys.exit(143)"
END_TERM = "kill -TERM $$ # os.kill(os.getpid(), 15)"
END_137 = "exit 137 # os._exit(137)"
END_KILL = "kill -KILL $$ # os.kill(os.getpid(), 9)"


@pytest.mark.parametrize("service", ["Succeeds", "SucceedsInBetween"])
@pytest.mark.parametrize("script", [False, True])
@pytest.mark.parametrize(
    ("line", "success", "well"),
    [
        (END_143, 143, True),
        (END_143, -15, True),
        (END_TERM, 143, True),
        (END_TERM, -15, True),
        (END_137, -9, True),
        (END_KILL, 137, True),
        (END_143, 0, False),
        (END_TERM, 0, False),
        (END_KILL, -15, False),
        ("exit 0 # sys.exit(0)", 3, False),
        ("exit 3 # os._exit(3)", 3, True),
    ],
)
def test_a_signal_and_128_and_its_number_are_one_for_success(
    corpus: Corpus, service: str, script: bool, line: str, success: int, well: bool
) -> None:
    service_id = f"{service} {script} {line} {success}"
    came = corpus.by_job(service, service_id, line=line, success=success, script=script)
    state = corpus.lab.record(service_id).state
    assert state is (State.COMPLETED if well else State.FAILED), came.why


@pytest.mark.parametrize("script", [False, True])
@pytest.mark.parametrize(
    ("line", "success"),
    [
        ("echo kept > out.txt; exit 3 # open('out.txt', 'w').write('kept'); sys.exit(3)", 3),
        ("echo kept > out.txt; exit 3 # open('out.txt', 'w').write('kept'); os._exit(3)", 3),
        ("echo kept > out.txt; kill -TERM $$ # open('out.txt', 'w').write('kept'); os.kill(os.getpid(), 15)", 143),
        ("echo kept > out.txt; kill -KILL $$ # open('out.txt', 'w').write('kept'); os.kill(os.getpid(), 9)", -9),
    ],
)
def test_a_result_of_its_own_name_holds_on_every_way_out(corpus: Corpus, script: bool, line: str, success: int) -> None:
    service_id = f"own result {script} {line}"
    came = corpus.by_job("LeavesItsOwn", service_id, line=line, success=success, script=script)
    assert corpus.lab.record(service_id).outputs == {"result": "kept"}, came.why


@pytest.mark.parametrize("script", [False, True])
def test_arguments_that_can_be_texts_are(corpus: Corpus, script: bool) -> None:
    came = corpus.by_job("Types", f"types {script}", script=script)
    assert came.printed.decode().splitlines() == [
        "two words", "7", "2.5", "true", "false", "a/b", "-1", "100000000000000000000", "1e-07",
    ]  # fmt: skip


@pytest.mark.parametrize("where", ["argument", "script", "run", "variable"])
@pytest.mark.parametrize("what", ["None", "list", "tuple", "bytes", "dict", "nul"])
def test_what_can_t_be_an_argument_is_refused_by_name(corpus: Corpus, what: str, where: str) -> None:
    service_id = f"odd {what} {where}"
    corpus.by_job("Odd", service_id, what=what, where=where)
    record = corpus.lab.record(service_id)
    assert record.state is State.FAILED
    assert ("SPICE" if where == "variable" else "argument") in record.why, record.why
    if what != "nul":
        assert what in record.why, record.why
    assert "Error)" not in record.why, f"Python's own words: {record.why}"


@pytest.mark.parametrize(
    ("program", "path"),
    [
        ("a-program-that-nobody-has", ""),
        ("sh", "/nowhere"),
        ("tool", "TOOLS/not-executable"),
        ("TOOLS/missing", ""),
        ("TOOLS/plain-text", ""),
        ("TOOLS/no-permission", ""),
        ("TOOLS/no-interpreter", ""),
        ("TOOLS", ""),
    ],
)
def test_what_can_t_be_started_is_named_without_its_place(corpus: Corpus, tools: Path, program: str, path: str) -> None:
    program, path = program.replace("TOOLS", str(tools)), path.replace("TOOLS", str(tools))
    with pytest.raises(OSError):  # as subprocess.run refuses it
        subprocess.run([program], env={**corpus.environment({}), **({"PATH": path} if path else {})})
    service_id = f"no program {program} {path}"
    corpus.by_job("NoProgram", service_id, program=program, path=path)
    record = corpus.lab.record(service_id)
    assert record.state is State.FAILED
    assert os.path.basename(program) in record.why and "program" in record.why, record.why
    assert str(tools) not in record.why and "Errno" not in record.why


@pytest.mark.parametrize(
    "line",
    ["exit 0", "exit 3", "kill -TERM $$", "kill -KILL $$", "kill 0", 'trap "kill 0" EXIT', "exec >&- 2>&-; exit 4"],
)
def test_in_a_terminal_it_ends_as_without(corpus: Corpus, line: str) -> None:
    plain = corpus.plainly(f"terminal {abs(hash(line))}", ["sh", "-c", line], ".", {})
    came = corpus.by_job("InTerminal", f"terminal {line}", line=line)
    assert came.status == plain.status, came.why


def test_a_terminal_costs_no_descriptor(corpus: Corpus) -> None:
    corpus.by_job("Terminals", "terminals", count=20)
    assert corpus.lab.record("terminals").outputs == {"result": "0 more"}
