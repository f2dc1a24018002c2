"""Every script of the corpus, by plain `python file`, as a service's Script, by job.run, and as a function whose file
stays warm or doesn't: what comes of it is the same.

What may differ is told where it is made comparable: the folder's path (ways.py), and what a trait's `tidy` says.
"""

import ast
from concurrent.futures import ThreadPoolExecutor

import pytest
from comparing import differences, of_run, printed_by_run
from script_all import TRAITS
from traits import Trait
from ways import Corpus, told_well

from labwaiter.service_files.stateless import state_in


@pytest.mark.parametrize("trait", TRAITS, ids=lambda trait: trait.name)
def test_a_script_does_what_it_does_under_python(corpus: Corpus, trait: Trait) -> None:
    if trait.skipped:
        pytest.skip(trait.skipped)
    none = "" if trait.leaves_result else "None"
    services = {"returned": f"Returned{none}", "run": f"Ran{none}"}
    with ThreadPoolExecutor() as at_once:
        under_python = at_once.submit(corpus.by_python, trait)
        ways = {
            way: at_once.submit(corpus.by_job, service, f"{trait.name} {way}", trait.tidy, trait=trait.name)
            for way, service in services.items()
        }
        if trait.within:
            for way in ("within", "cold"):
                service = f"{way.title()}_{trait.name}"
                ways[way] = at_once.submit(corpus.by_job, service, f"{trait.name} {way}", trait.tidy)
    plain = under_python.result()
    found = {way: future.result() for way, future in ways.items()}
    found["run"] = of_run(plain, found["run"])
    wrong = [f"{way}: {line}" for way, one in found.items() for line in differences(plain, one)]
    if plain.status:
        wrong += [f"{way}: {found[way].why}" for way in ways if not told_well(found[way].why, plain.status)]
    else:
        wrong += printed_by_run(corpus, f"{trait.name} run", plain, trait.tidy)
    if wrong:
        pytest.fail("\n".join(["It differs from python:", *wrong]), pytrace=False)


def test_one_of_its_two_service_files_stays_warm(corpus: Corpus) -> None:
    within, cold = ((corpus.services / f"{name}.py") for name in ("within", "cold"))
    assert state_in(ast.parse(within.read_bytes())) is None
    assert "Expr" in str(state_in(ast.parse(cold.read_bytes())))


def test_the_corpus_is_large_and_its_names_tell_its_traits_apart() -> None:
    names = [trait.name for trait in TRAITS]
    assert len(set(names)) == len(names) > 200
