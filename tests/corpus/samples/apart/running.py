"""Several programs in one job."""

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from labwaiter import Command, Job, JobFailed, Outputs, Script, service

NS = "http://corpus.example/"


class Result(Outputs):
    result: str


@service("TwoConfigs", namespace=NS)
def startTwoConfigs(job: Job) -> Result:
    """Two scripts with a config beside each, and one of them again."""
    printed = [job.run(Script(f"scripts/{name}/work.py")) for name in ("one", "two", "one")]
    return Result(result=" ".join(text.strip() for text in printed))


@service("Environments", namespace=NS)
def startEnvironments(job: Job) -> Result:
    """What one program is given, the next one has not."""
    show = "import os; print(os.environ.get('SPICE', 'none'))"
    with open("show.py", "w") as out:
        out.write(show)
    script = job.data / "show.py"
    printed = [
        job.run(Script(script, environment={"SPICE": "salt"})),
        job.run(Script(script)),
        job.run(Command("printenv", "SPICE", environment={"SPICE": "pepper"})),
        job.run(Command("sh", "-c", "echo ${SPICE-none}")),
        os.environ.get("SPICE", "none"),
    ]
    return Result(result=" ".join(text.strip() for text in printed))


@service("Handed", namespace=NS)
def startHanded(job: Job) -> Result:
    """What the function sets of its own process, its programs have."""
    os.environ["SPICE"] = "salt"
    os.umask(0o077)
    with open("show.py", "w") as out:
        out.write("import os; print(os.environ['SPICE'], oct(os.umask(0)))")
    printed = [
        job.run(Script(job.data / "show.py")),
        job.run(Command("sh", "-c", "echo $SPICE 0o$(umask | tail -c 3)")),
    ]
    return Result(result=" ".join(text.strip() for text in printed))


CASE = """
import os, sys, time
number = sys.argv[1]
for _ in range(20):
    print("case", number, flush=True)
    time.sleep(0.002)
open("case.txt", "w").write(number)
"""


@service("Cases", namespace=NS, limit=60)
def startCases(job: Job, count: int, script: bool) -> Result:
    """Each in a folder of its own, several at the same time."""
    with open("case.py", "w") as out:
        out.write(CASE)
    before = os.getcwd()

    def run(number: int) -> str:
        folder = f"case{number}"
        if script:
            return job.run(Script(job.data / "case.py", number, folder=folder))
        line = f"for i in $(seq 20); do echo case {number}; done; sleep 0.01; printf {number} > case.txt"
        return job.run(Command("sh", "-c", line, folder=folder))

    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(run, range(count)))
    with open("of the function.txt", "w") as out:
        out.write("in its own folder")
    wrong = [n for n, text in enumerate(texts) if text != f"case {n}\n" * 20]
    return Result(result=f"{wrong} wrong, the folder is {'the same' if os.getcwd() == before else 'another'}")


def run_there(job: Job, pipe: Any) -> None:
    try:
        pipe.send(job.run(Command("echo", "ran")))
    except JobFailed as error:
        pipe.send(error.message)


@service("RunsInAProcess", namespace=NS, limit=30)
def startRunsInAProcess(job: Job) -> Result:
    """job.run where it can't be."""
    there, back = multiprocessing.Pipe()
    one = multiprocessing.get_context("fork").Process(target=run_there, args=(job, back))
    one.start()
    came = there.recv()
    one.join()
    return Result(result=came)


@service("RunsInAThread", namespace=NS, limit=30)
def startRunsInAThread(job: Job) -> Result:
    """job.run where it may well be, while the function waits for it and afterwards."""
    with ThreadPoolExecutor() as pool:
        failed = pool.submit(job.run, Command("false"))
        well = pool.submit(job.run, Command("echo", "ran"))
    return Result(result=f"{well.result().strip()}; {failed.exception()}")
