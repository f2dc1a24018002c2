"""bench/run --soak: many executions for a while, with all that can happen to them. Is each accounted for at the end?

So many run at a time, so many pollers ask for them as workflow managers do, but oftener. Meanwhile executions are
aborted and spoken to, processes of jobs, web workers and supervisors are killed, and the authentication manager is
down for a tenth of the time. It fails (status 1) where an execution is lost, or ends otherwise than what befell it,
an answer is none that may come, memory or descriptors grow, or something is left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import statistics
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "app"), str(HERE.parent / "tests")]

from labwaiter.deployment import web_processes  # noqa: E402
from labwaiter.settings import Settings, load  # noqa: E402
from labwaiter.store import supervisor_client  # noqa: E402
from labwaiter.store.folder import Folder  # noqa: E402
from labwaiter.system.process import MARKER, identify, mark_of, marked  # noqa: E402
from manager import Manager  # noqa: E402
from servers import Labwaiter, envelope  # noqa: E402

SERVICES = {"Waiter": "startWaiter", "Function": "startFunction", "Resting": "startResting"}
PEOPLE = {f"token of {user}": (user, project, ()) for user, project in (("ada", "a"), ("bob", "a"), ("eve", "b"))}
STRANGERS = {"a": "token of eve", "b": "token of ada"}
# of a poll that may come: JobFailed and JobAborted are ends, Unavailable is the manager's or the machine's want
ENDS = {"JobFailed": "failed", "JobAborted": "aborted"}
MAY_GROW = 1.25  # of memory and descriptors, from the time when all run to the end of that time
TOLD_SECONDS = 25.0  # the page of a bad end is shown for 20 s before the fault


@dataclass
class Execution:
    """One, as its caller knows it."""

    name: str
    service: str
    token: str
    began: float = field(default_factory=time.monotonic)
    befell: set[str] = field(default_factory=set)  # "abort", "kill"
    end: str = ""  # "completed", "aborted", "failed"; "": it has none yet


class Soak:
    """One run."""

    def __init__(self, seconds: float, running: int, pollers: int, seed: int) -> None:
        self.seconds, self.running, self.pollers = seconds, running, pollers
        self.random = random.Random(seed)
        self.manager = Manager()
        self.manager.people.update(PEOPLE)
        soak = self

        class Guarded(Labwaiter):
            """Asks the manager, and often: a yes is kept for 10 s."""

            def environment(self) -> dict[str, str]:
                asked = {"TOKENS": "manager", "AUTH_WSDL": soak.manager.wsdl, "AUTH_SECONDS": "10"}
                return super().environment() | asked

        self.server = Guarded(workers=2)
        self.settings: Settings = load({**os.environ, **self.server.asking(), "PORT": str(self.server.port)})
        self.folder = Folder(self.settings.jobs_folder)
        self.known: dict[str, Execution] = {}
        self.over = threading.Event()  # nothing more is started
        self.done = threading.Event()  # nobody polls any more
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.took: list[float] = []
        self.turn = threading.Lock()

    # -- calls ----------------------------------------------------------------------------------

    def call(self, execution: Execution, operation: str, token: str = "", **texts: object) -> tuple[str, bytes]:
        """The fault's code ("" where there is none; "no answer") and the answer."""
        texts = {"serviceID": execution.name, "sessionToken": token or execution.token, **texts}
        line = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        try:
            headers = {"Content-Type": "text/xml; charset=utf-8"}
            line.request("POST", f"/{execution.service}", envelope(operation, **texts), headers)
            body = line.getresponse().read()
        except (OSError, http.client.HTTPException):  # a web worker was killed under the call
            return "no answer", b""
        finally:
            line.close()
        _, found, code = body.partition(b"errorCode>")
        return (code.partition(b"<")[0].decode() if found else ""), body

    def note(self, what: str) -> None:
        with self.turn:
            self.counts[what] += 1

    def mistake(self, what: str) -> None:
        with self.turn:
            self.wrong.append(what)

    def alive(self) -> list[Execution]:
        return [execution for execution in list(self.known.values()) if not execution.end]

    # -- what goes on ---------------------------------------------------------------------------

    def starts(self) -> None:
        """Have so many run, until it is over."""
        number = 0
        while not self.over.is_set():
            if len(self.alive()) >= self.running:
                time.sleep(0.05)
                continue
            number += 1
            service, token = self.random.choice([*SERVICES]), self.random.choice([*PEOPLE])
            execution = Execution(f"soak-{number:05}", service, token)
            seconds = self.random.randint(1, 30) if number > self.running else self.random.randint(1, 60)
            while True:  # as workflow managers do: the same start again
                code, _ = self.call(execution, SERVICES[service], secondsToWait=seconds)
                if code not in ("no answer", "Unavailable") or self.over.is_set():
                    break
                self.note(f"start: {code}, tried again")
                time.sleep(0.5)
            if code == "":
                self.known[execution.name] = execution
            elif not self.over.is_set():
                self.mistake(f"{execution.name}: its start was answered by {code}")

    def polls(self, number: int) -> None:
        """Ask for one execution after the other, each poller for its own."""
        mine = random.Random(number)
        while not self.done.is_set():
            waiting = [one for one in self.alive() if hash(one.name) % self.pollers == number]
            for execution in waiting:
                self.poll(execution, mine)
            time.sleep(0.5 if waiting else 0.1)

    def poll(self, execution: Execution, mine: random.Random) -> None:
        if mine.random() < 0.02:  # somebody else's question
            project = PEOPLE[execution.token][1]
            code, _ = self.call(execution, "getServiceStatus", STRANGERS[project])
            if code not in ("UnknownServiceID", "Unavailable", "no answer"):
                self.mistake(f"{execution.name}: another project heard {code or 'its status'}")
        began = time.monotonic()
        code, body = self.call(execution, "getServiceStatus")
        with self.turn:
            self.took.append(time.monotonic() - began)
            self.counts[f"polls: {code or 'answered'}"] += 1
        if code in ENDS:
            self.ended(execution, ENDS[code])
        elif code == "" and b"status_base64>COMPLETED<" in body:
            if execution.service != "Resting" and b"result>FINISHED<" not in body:
                self.mistake(f"{execution.name}: completed without its result")
            self.ended(execution, "completed")
        elif code not in ("", "no answer", "Unavailable"):
            self.mistake(f"{execution.name}: a poll heard {code}")

    def ended(self, execution: Execution, end: str) -> None:
        with self.turn:
            execution.end = end
        # what befell it decides, but for what came when it had just completed
        if end != "completed" and {"aborted": "abort", "failed": "kill"}[end] not in execution.befell:
            self.mistake(f"{execution.name}: {end}, and nothing had befallen it but {execution.befell or 'nothing'}")

    def happens(self) -> None:
        """Somebody aborts, speaks, kills; the manager goes away and comes back."""
        began = time.monotonic()
        away = (began + 0.4 * self.seconds, began + 0.5 * self.seconds)
        every = max(10.0, self.seconds / 20)  # s: what is killed needs some to come back
        kills = [(began + every * n, ("worker", "supervisor")[n % 2]) for n in range(1, int(self.seconds / every))]
        while not self.over.wait(0.25):
            now = time.monotonic()
            is_away = away[0] <= now < away[1]
            if is_away and not self.manager.mood:
                self.manager.go_on.clear()
                self.manager.mood = "hang"
                self.note("manager away")
            elif self.manager.mood and not is_away:
                self.manager.mood = ""
                self.manager.go_on.set()
            what = self.random.choices(["abort", "message", "job", "nothing"], [4, 6, 3, 6])[0]
            others = self.alive()
            if kills and now >= kills[0][0]:
                self.kill(kills.pop(0)[1])
            elif others and what != "nothing":
                getattr(self, f"_{what}")(self.random.choice(others))

    def _abort(self, execution: Execution) -> None:
        execution.befell.add("abort")
        code, _ = self.call(execution, "abortService")
        self.note(f"aborts: {code or 'answered'}")
        if code not in ("", "no answer", "Unavailable"):
            self.mistake(f"{execution.name}: its abort heard {code}")

    def _message(self, execution: Execution) -> None:
        code, _ = self.call(execution, "notifyService", message="a message")
        self.note(f"messages: {code or 'answered'}")

    def _job(self, execution: Execution) -> None:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            stored = self.folder.stored_state(execution.name)
            if stored is not None and stored.runner is not None and identify(stored.runner.pid) == stored.runner:
                execution.befell.add("kill")
                os.kill(stored.runner.pid, signal.SIGKILL)
                self.note("kills: job")

    def kill(self, what: str) -> None:
        """One of our own processes."""
        pids = [supervisor_client.alive(self.settings)] if what == "supervisor" else self.server.web_pids()
        pids = [pid for pid in pids if pid]
        if pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.random.choice(pids), signal.SIGKILL)
                self.note(f"kills: {what}")

    # -- figures --------------------------------------------------------------------------------

    def figures(self) -> dict[str, float]:
        """Memory (PSS, MB) and descriptors of supervisor and web side, without the jobs."""
        supervisor = supervisor_client.alive(self.settings)
        web = [who.pid for who in web_processes.find(self.settings)]
        found = {"supervisor": [supervisor] if supervisor else [], "web": web}
        said = {}
        for who, pids in found.items():
            memory, most = 0.0, 0
            for pid in pids:
                with contextlib.suppress(OSError):
                    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                    memory += int(rollup.partition("\nPss:")[2].split()[0]) / 1024
                    most = max(most, len(os.listdir(f"/proc/{pid}/fd")))
            said |= {f"{who}: memory, MB": memory, f"{who}: descriptors, the most": float(most)}
        return said

    def run(self) -> int:
        """All of it: the status to exit with."""
        threads = [threading.Thread(target=self.polls, args=(number,)) for number in range(self.pollers)]
        busy = [threading.Thread(target=self.starts), threading.Thread(target=self.happens)]
        samples: list[dict[str, float]] = []
        try:
            for thread in (*threads, *busy):
                thread.start()
            began = time.monotonic()
            while time.monotonic() - began < self.seconds:
                time.sleep(min(5.0, self.seconds / 12))
                samples.append(self.figures())
            self.over.set()
            for thread in busy:
                thread.join(60)
            self.manager.mood = ""
            self.manager.go_on.set()
            for execution in self.alive():  # the rest is aborted, and its end waited for
                execution.befell.add("abort")
                threading.Thread(target=self.call, args=(execution, "abortService"), daemon=True).start()
                time.sleep(0.02)
            until = time.monotonic() + 120 + TOLD_SECONDS
            while self.alive() and time.monotonic() < until:
                time.sleep(0.5)
        finally:
            self.over.set()
            self.done.set()
            for thread in (*threads, *busy):
                if thread.ident is not None:
                    thread.join(60)
            left = self.close()
        return self.tell(samples, left)

    def close(self) -> list[int]:
        """Stop it all: what lives on, which is then ended."""
        self.names = set(self.folder.names())
        supervisor_client.stop(self.settings, 60)
        for process in self.server.processes[1:]:
            process.terminate()
            process.wait(30)
        marks = {f"{MARKER}={mark_of(self.settings.jobs_folder, name)}".encode() for name in self.names}
        left = [who.pid for who in marked(str(self.settings.jobs_folder.resolve()), web_processes.MARKER)]
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if marks & set((entry / "environ").read_bytes().split(b"\0")):
                    left.append(int(entry.name))
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.manager.close()
        return left

    def tell(self, samples: list[dict[str, float]], left: list[int]) -> int:
        """The table."""
        ends = Counter(execution.end or "no end" for execution in self.known.values())
        lost = [execution.name for execution in self.alive()]
        unknown = [name for name in self.known if name not in self.names]
        rows: list[tuple[str, str, str]] = [
            ("executions", str(len(self.known)), ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))),
            ("without an end, without a record", f"{len(lost)}, {len(unknown)}", " ".join((lost + unknown)[:5])),
            ("answers that may not be", str(len(self.wrong)), "; ".join(self.wrong[:5])),
            ("processes left behind", str(len(left)), ""),
        ]
        for what in sorted(self.counts):
            rows.append((what, str(self.counts[what]), ""))
        took = sorted(self.took) or [0.0]
        rows.append(("poll, ms: the median", f"{1000 * statistics.median(took):.1f}", ""))
        rows.append(("poll, ms: 99 of 100", f"{1000 * took[len(took) * 99 // 100]:.1f}", ""))
        grown = []
        third = max(1, len(samples) // 3)
        for figure in samples[0] if samples else ():
            parts = samples[third : 2 * third] or samples, samples[-third:]
            before, after = (statistics.median(sample[figure] for sample in part) for part in parts)
            rows.append((figure, f"{before:.1f}", f"{after:.1f} at the end"))
            if before and after > before * MAY_GROW + 3:
                grown.append(figure)
        print("| | | |\n| --- | ---: | --- |")
        for row in rows:
            print(f"| {' | '.join(row)} |")
        failed = bool(lost or unknown or self.wrong or left or grown)
        print(f"\n{'Not all is accounted for.' if failed else 'All is accounted for.'}")
        if grown:
            print(f"What has grown: {', '.join(grown)}.")
        if failed:
            print(f"The jobs folder is kept: {self.server.jobs}")
            (self.server.jobs / "soak.json").write_text(json.dumps({"wrong": self.wrong, "lost": lost}))
        else:
            shutil.rmtree(self.server.jobs, ignore_errors=True)
        return int(failed)


def main() -> None:
    """Read the command line and go."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="for which executions are started")
    parser.add_argument("--running", type=int, default=200, help="executions at a time")
    parser.add_argument("--pollers", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1, help="of what happens when")
    said = parser.parse_args()
    sys.exit(Soak(60 * said.minutes, said.running, said.pollers, said.seed).run())


if __name__ == "__main__":
    main()
