"""Running a plan: step after step, polled as a workflow manager polls."""

from __future__ import annotations

import base64
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ..model import contract
from .plan import Plan, WorkflowStep, filled
from .service_client import Away, CallRefused, ServiceClient

PATIENCE = 120.0  # s that a service may be away before the workflow gives up
ABORT_TRIES = 4  # an abort answers within 8 s; false means "ask again"
ABORT_PAUSE = 2.0  # s between them: other services say false at once


class StepState(StrEnum):
    """Where a step is."""

    WAITS = "waits"
    RUNS = "runs"
    COMPLETED = "completed"
    FAILED = "failed"
    ABORTED = "aborted"


@dataclass(frozen=True)
class StepView:
    """What is known of a step."""

    name: str
    service: str
    state: StepState = StepState.WAITS
    service_id: str = ""
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    why: str = ""
    page: str = ""  # the last status page, HTML
    pages: int = 0  # how many there were: it changes with each
    began: float | None = None  # Unix time, s
    ended: float | None = None  # Unix time, s


class Ended(Exception):
    """A step came to a bad end, and so does the workflow; the message says why."""


class UnreadablePage(Exception):
    """A status that no portal could show; the message says which."""


class Workflow:
    """One run of a plan. `seen` may be read from other threads."""

    def __init__(self, plan: Plan, token: str, say: Callable[[str], None]) -> None:
        self.plan, self._token, self._say = plan, token, say
        self.seen = [StepView(step.name, step.described.service) for step in plan.steps]
        self.outputs: dict[str, str] = {}
        self.over = threading.Event()
        self._run = secrets.token_hex(4)

    def run(self) -> dict[str, str]:
        """Run every step: the workflow's outputs (the last step's, where the plan names none).

        Raises:
            Ended: a step failed or was aborted.
            Away: a service could not be reached for too long.
            KeyboardInterrupt: as it came; the running step has been aborted.
        """
        made: dict[str, dict[str, str]] = {}
        try:
            clients = [self._client(step) for step in self.plan.steps]  # before the first step is started
            for number, step in enumerate(self.plan.steps):
                inputs = {n: filled(t, made) for n, t in step.inputs.items()}
                made[step.name] = self._step(number, step, clients[number], inputs)
            last = made[self.plan.steps[-1].name]
            self.outputs = {n: filled(t, made) for n, t in self.plan.outputs.items()} or last
            return self.outputs
        finally:
            self.over.set()

    def _client(self, step: WorkflowStep) -> ServiceClient:
        try:
            return ServiceClient(step.wsdl)
        except CallRefused as error:
            raise Ended(f"{step.name}: {error}") from error
        except Away as error:
            raise Away(f"{step.name}: {step.wsdl} can't be reached: {error}") from error

    def _step(self, number: int, step: WorkflowStep, client: ServiceClient, inputs: dict[str, str]) -> dict[str, str]:
        service_id = f"desk-{self._run}-{number + 1}-{step.name}"
        self._note(number, state=StepState.RUNS, service_id=service_id, inputs=inputs, began=time.time())
        self._say(f"{step.name}: started as {service_id}")
        identity = {"serviceID": service_id, "sessionToken": self._token}
        asks = {f.name for f in step.described.operations[step.start].input.fields or ()}
        texts = {n: v for n, v in (identity | inputs).items() if n in asks}
        try:
            if step.polled:
                answer = self._patiently(step, lambda: client.call(step.start, texts))
                answer = self._poll(number, step, client, identity, answer)
            else:  # what it did before its answer was lost isn't known, so it is asked once
                answer = client.call(step.start, texts)
            outputs = self._named(step, answer)
            self._note(number, state=StepState.COMPLETED, outputs=outputs, ended=time.time())
            self._say(f"{step.name}: completed")
            return outputs
        except (CallRefused, Away) as error:
            state = StepState.ABORTED if str(error).startswith("JobAborted") else StepState.FAILED
            self._note(number, state=state, why=str(error), ended=time.time())
            if isinstance(error, Away):
                raise Away(f"{step.name}: {error}") from error
            raise Ended(f"{step.name}: {error}") from error
        except UnreadablePage as error:
            self._note(number, state=StepState.FAILED, why=str(error), ended=time.time())
            why = f"{error} {self._abort(step, client, identity)}"
            self._note(number, why=why)
            raise Ended(f"{step.name}: {why}") from error
        except KeyboardInterrupt:
            self._note(number, state=StepState.ABORTED, why="It was told to abort.", ended=time.time())
            self._note(number, why=self._abort(step, client, identity), ended=time.time())
            raise

    def _poll(
        self, number: int, step: WorkflowStep, client: ServiceClient, identity: dict[str, str], answer: dict[str, str]
    ) -> dict[str, str]:
        """Show each status page until the outputs come."""
        while (status := answer.get("status_base64", "")) != "COMPLETED":
            if status != "UNCHANGED":
                self._note(number, page=_page(status), pages=self.seen[number].pages + 1)
            time.sleep(self.plan.every)
            answer = self._patiently(step, lambda: client.call(contract.STATUS, identity))
        return {name: value for name, value in answer.items() if name != "status_base64"}

    def _patiently(self, step: WorkflowStep, call: Callable[[], dict[str, str]]) -> dict[str, str]:
        """A call, tried again while its service is away: a start that is repeated is the same start."""
        until, announced = time.monotonic() + PATIENCE, False
        while True:
            try:
                return call()
            except Away as error:
                if time.monotonic() > until:
                    raise Away(f"{error}; it was away for {PATIENCE:g} s.") from error
                if not announced:
                    self._say(f"{step.name}: no answer ({error}); trying again")
                    announced = True
                time.sleep(min(self.plan.every, 5.0))

    def _named(self, step: WorkflowStep, answer: dict[str, str]) -> dict[str, str]:
        names = [f.name for f in step.described.operations[step.start].output.fields or ()]
        return {names[0]: answer[""]} if "" in answer and names else answer

    def _abort(self, step: WorkflowStep, client: ServiceClient, identity: dict[str, str]) -> str:
        """Abort the step's execution: a sentence that says what became of it."""
        if not step.polled or contract.ABORT not in step.described.operations:
            return "It can't be aborted, and may go on."
        self._say(f"{step.name}: aborting; Ctrl-C once more waits no longer")
        why = "It was told to abort, but is not gone yet."
        for attempt in range(ABORT_TRIES):
            if attempt:
                time.sleep(ABORT_PAUSE)
            try:
                if "true" in client.call(contract.ABORT, identity).values():
                    why = "It was aborted."
                    break
            except CallRefused as error:  # the same question gets the same answer
                why = f"It could not be aborted: {error}"
                break
            except Away as error:
                why = f"It could not be aborted, and may go on: {error}"
        self._say(f"{step.name}: {why}")
        return why

    def _note(self, number: int, **changes: object) -> None:
        self.seen[number] = replace(self.seen[number], **changes)  # type: ignore[arg-type]


def _page(status: str) -> str:
    """The page in a status_base64. Raises UnreadablePage."""
    try:
        page = base64.b64decode("".join(status.split()), validate=True)
    except ValueError:
        page = b""
    if not page:
        shown = f"“{status[:60]}”" if status else "empty"
        raise UnreadablePage(f"Its status_base64 is {shown}: no page in base64, nor UNCHANGED, nor COMPLETED.")
    return page.decode("utf-8", "replace")
