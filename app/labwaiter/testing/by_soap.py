"""Executions over SOAP, by the service's WSDL, as a workflow manager has them."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Any, NoReturn

from .. import errors
from ..desk.service_client import CallRefused, ServiceClient
from ..model import contract
from ..model.record import Record
from ..model.values import text_of
from .execution import PATIENCE, Execution

if TYPE_CHECKING:
    from .lab import Lab

TOKEN = "a token"  # every one is good here
_CODES = {
    error.code: error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, errors.ServiceError) and "code" in vars(error)
}


class BySoap:
    """`start` and `run` as the lab's own have them; what is refused raises the same errors."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._clients: dict[str, ServiceClient] = {}

    def start(self, service: str, service_id: str | None = None, /, **inputs: Any) -> ExecutionBySoap:
        """Start an execution over SOAP: see `Lab.start`. An input is sent as text, so a wrong one is, too.

        Raises:
            InvalidParameter and so on: the service answered with that fault.
        """
        offered = self._lab.service(service)
        service_id = service_id or f"{offered.name}-{secrets.token_hex(4)}"
        texts = {name: text_of(value) for name, value in self._lab.with_files(inputs).items() if value is not None}
        self.call(offered.name, offered.operation, {"serviceID": service_id, "sessionToken": TOKEN, **texts})
        return ExecutionBySoap(self._lab, self._lab.jobs.record(service_id, self._lab.caller), self)

    def run(self, service: str, service_id: str | None = None, /, **inputs: Any) -> ExecutionBySoap:
        """Start an execution over SOAP and wait for its end, however it ends."""
        execution = self.start(service, service_id, **inputs)
        execution.join()
        return execution

    def call(self, service: str, operation: str, texts: dict[str, str]) -> dict[str, str]:
        """The outputs of an operation, as texts. Raises the error of a fault's code."""
        wsdl = self._lab.address(service) + "?wsdl"
        if service not in self._clients:
            self._clients[service] = ServiceClient(wsdl)
        try:
            answer = self._clients[service].call(operation, texts)
        except CallRefused as refused:
            _raise(str(refused), refused)
        if "" in answer:  # of one output suds gives the value alone
            answer[self._lab.service(service).operations[operation].outputs[0].name] = answer.pop("")
        return answer


def _raise(words: str, refused: CallRefused) -> NoReturn:
    code, _, sentence = words.partition(": ")
    raise _CODES.get(code, errors.ServiceError)(sentence) from refused


class ExecutionBySoap(Execution):
    """An execution that is asked over SOAP; what SOAP doesn't tell (log, files, states) comes from its folder."""

    def __init__(self, lab: Lab, record: Record, soap: BySoap) -> None:
        super().__init__(lab, record)
        self._soap = soap

    def _call(self, operation: str, **texts: str) -> dict[str, str]:
        return self._soap.call(self.service, operation, {"serviceID": self.service_id, "sessionToken": TOKEN, **texts})

    def page(self) -> str:
        """The status page of the answer to a poll; "" once it is COMPLETED."""
        status = self._call(contract.STATUS)["status_base64"]
        return "" if status == "COMPLETED" else base64.b64decode(status).decode()

    @property
    def outputs(self) -> dict[str, Any]:
        """The outputs that COMPLETED comes with. Raises NotThatWay where it has none."""
        outputs = super().outputs  # or why there are none
        answer = self._call(contract.STATUS)
        service = self._lab.service(self.service)
        assert answer["status_base64"] == "COMPLETED", answer["status_base64"]
        return {p.name: p.accept(answer[p.name]) if p.name in answer else outputs[p.name] for p in service.outputs}

    def abort(self, wait: float = PATIENCE) -> bool:
        """abortService, asked again while it says that the stop goes on by itself."""
        tries = max(1, round(wait / 8))
        return any(self._call(contract.ABORT)["success"] == "true" for _ in range(tries))

    def notify(self, message: str, wait: float = 1.0) -> str:
        """notifyService: the reply, or the message's number."""
        return self._call(contract.NOTIFY, message=message)["response"]
