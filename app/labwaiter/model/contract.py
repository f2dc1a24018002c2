"""The contract: the operations that every service has, each in one place.

The WSDL, what a call may hold, the form of its answer, `labwaiter lint` and `labwaiter services` are made of this
table. One more operation is a row here, and the method of `soap.operations.Operations` that its row names.
"""

from __future__ import annotations

from dataclasses import dataclass

from .parameter import Parameter

SERVICE_ID = Parameter("serviceID", "text")
SESSION_TOKEN = Parameter("sessionToken", "text")
EXTRA_PARAMETERS = Parameter("extraParameters", "text", mandatory=False)
STATUS_PAGE = Parameter("status_base64", "text")  # or a bare word, COMPLETED or UNCHANGED: never a letter to escape
MESSAGE = Parameter("message", "text")
SERVICE_ID_MAX, MESSAGE_MAX = 1000, 20_000  # characters
LONGEST = {SERVICE_ID.name: SERVICE_ID_MAX, MESSAGE.name: MESSAGE_MAX}  # others: parameter.TEXT_MAX


@dataclass(frozen=True)
class Operation:
    """One operation, as a service's WSDL has it."""

    name: str
    inputs: tuple[Parameter, ...]  # in the contract's order, as the outputs
    outputs: tuple[Parameter, ...]
    words: str  # its documentation
    method: str  # the method of soap.operations.Operations that carries it out

    def names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Of its inputs, and of its outputs."""
        return tuple(p.name for p in self.inputs), tuple(p.name for p in self.outputs)


_STATUS = Operation(
    "getServiceStatus",
    (SERVICE_ID, SESSION_TOKEN),
    (STATUS_PAGE,),  # and the service's own
    "The status page of an execution in base64, UNCHANGED, or COMPLETED with the outputs.",
    "status",
)
_ABORT = Operation(
    "abortService",
    (SERVICE_ID, SESSION_TOKEN),
    (Parameter("success", "boolean"),),
    "Stop an execution: true once it is gone, false if it will be; then ask again.",
    "abort",
)
_NOTIFY = Operation(
    "notifyService",
    (SESSION_TOKEN, SERVICE_ID, MESSAGE),
    (Parameter("response", "text"),),
    "Send a message to an execution: its reply, or the message's number.",
    "notify",
)
OF_EVERY_SERVICE = (_STATUS, _ABORT, _NOTIFY)
STATUS, ABORT, NOTIFY = _STATUS.name, _ABORT.name, _NOTIFY.name
# names that an input or output of a service's own can't have
RESERVED = frozenset(p.name for p in (SERVICE_ID, SESSION_TOKEN, EXTRA_PARAMETERS, STATUS_PAGE))


def extra_parameters(text: str) -> dict[str, str]:
    """What a workflow manager tells a start beside its inputs: name → value.

    Pairs, mostly with a comma behind the last, too; a value may hold =.

    >>> extra_parameters("WFM=http://wfm.example/a?b=c,auth=https://auth.example?wsdl,")
    {'WFM': 'http://wfm.example/a?b=c', 'auth': 'https://auth.example?wsdl'}
    """
    pairs = (pair.partition("=") for pair in text.split(","))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def names_of(operations: dict[str, Operation]) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Operation → the names of its inputs, and of its outputs."""
    return {name: operation.names() for name, operation in operations.items()}


def nillable(operations: dict[str, Operation]) -> list[tuple[str, str]]:
    """Operation and name of each input that may be left out and, as the WSDL has it, may be nil."""
    return [(name, p.name) for name, operation in operations.items() for p in operation.inputs if not p.mandatory]


def operations(
    start: str, words: str, inputs: tuple[Parameter, ...], outputs: tuple[Parameter, ...]
) -> dict[str, Operation]:
    """The operations of a service by their names, its own start operation first.

    Args:
        start: the name of that, `words` its documentation, `inputs` and `outputs` the service's own.
    """
    answer = (STATUS_PAGE, *outputs)
    begins = Operation(start, (SERVICE_ID, SESSION_TOKEN, *inputs, EXTRA_PARAMETERS), answer, words, "start")
    others = [
        Operation(o.name, o.inputs, answer if o.outputs == (STATUS_PAGE,) else o.outputs, o.words, o.method)
        for o in OF_EVERY_SERVICE
    ]
    return {operation.name: operation for operation in (begins, *others)}
