"""What can go wrong between us and the exchange, on demand."""

from dataclasses import dataclass, replace
from enum import StrEnum


class FaultKind(StrEnum):
    """Where a request or its answer suffers."""

    LATE_REQUEST = "late_request"  # arrives `delay_ms` later
    LATE_ANSWER = "late_answer"  # takes effect in time, the answer comes `delay_ms` later
    LOST_REQUEST = "lost_request"  # never arrives; the client runs into its time-out
    LOST_ANSWER = "lost_answer"  # takes effect, the client runs into its time-out
    RESET = "reset"  # takes effect, the connection breaks at once
    ANSWERED = "answered"  # does not take effect: `status` and `body` are the answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault for the next `count` requests that match; an empty pattern matches all."""

    kind: FaultKind
    method: str = ""  # get, post, put, delete
    path: str = ""  # part of the path, e.g. "algoOrder"; with a leading "=" all of it
    client_id: str = ""  # part of the order's client id
    count: int = 1
    delay_ms: int = 0
    status: int = 400
    body: bytes = b""


class Faults:
    """The faults that wait for their requests."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Let a fault happen to the next matching requests."""
        self._waiting.append(fault)

    def refuse(
        self,
        code: int,
        text: str = "refused",
        *,
        status: int = 400,
        method: str = "",
        path: str = "",
        client_id: str = "",
        count: int = 1,
    ) -> None:
        """Let the next matching requests be refused with an error code."""
        body = b'{"code":%d,"msg":"%s"}' % (code, text.encode())
        self.add(
            Fault(
                kind=FaultKind.ANSWERED,
                method=method,
                path=path,
                client_id=client_id,
                count=count,
                status=status,
                body=body,
            )
        )

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        self._waiting.clear()

    def take(self, *, method: str, path: str, parameters: dict[str, str]) -> Fault | None:
        """Return the first fault that matches a request, and count it."""
        for index, fault in enumerate(self._waiting):
            if _matches(fault, method, path, parameters):
                if fault.count > 1:
                    self._waiting[index] = replace(fault, count=fault.count - 1)
                else:
                    del self._waiting[index]
                return fault
        return None

    @property
    def is_empty(self) -> bool:
        """Return whether every fault has happened."""
        return not self._waiting


_ID_PARAMETERS = ("newClientOrderId", "clientAlgoId", "origClientOrderId")


def _matches(fault: Fault, method: str, path: str, parameters: dict[str, str]) -> bool:
    if fault.method and fault.method != method:
        return False
    if fault.path.startswith("="):
        if fault.path[1:] != path:
            return False
    elif fault.path not in path:
        return False
    ids = [parameters[name] for name in _ID_PARAMETERS if name in parameters]
    return not fault.client_id or any(fault.client_id in text for text in ids)
