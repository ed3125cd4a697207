"""Faults that the control interface orders: late, lost, held and refused answers.

A fault is matched against method, path and client id, used `count` times, and acts either before
the request takes effect or after it: an answer lost 'after' is an order that exists unbeknownst.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

Action = Literal["delay", "lose", "hold", "refuse", "stale"]
When = Literal["before", "after"]

_CLIENT_ID_NAMES = ("newClientOrderId", "origClientOrderId", "clientAlgoId")


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One fault as it is ordered; empty strings match everything."""

    action: Action
    when: When = "after"
    method: str = ""
    path: str = ""  # a part of the path
    client_id: str = ""  # a part of the client id
    count: int = 1
    delay_ms: int = 0  # delay: how late; stale: for how long
    how: Literal["reset", "503"] = "reset"  # lose: what the client sees instead of the answer
    status: int = 400  # refuse: what it is told
    code: int = -1000
    msg: str = "An unknown error occurred while processing the request."

    def matches(self, method: str, path: str, params: Mapping[str, str]) -> bool:
        """Return whether this fault hits the request."""
        ids = [params[name] for name in _CLIENT_ID_NAMES if params.get(name)]
        return (
            self.count > 0
            and self.method in ("", method)
            and self.path in path
            and (not self.client_id or any(self.client_id in one for one in ids))
        )


@dataclass(slots=True)
class Faults:
    """The faults that are waiting for their request."""

    waiting: list[Fault] = field(default_factory=list)
    held: int = 0
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, fault: Fault) -> None:
        """Order a fault."""
        self._released = asyncio.Event() if self._released.is_set() else self._released
        self.waiting.append(fault)

    def take(self, method: str, path: str, params: Mapping[str, str]) -> Fault | None:
        """Return the first fault that hits this request, used up by one."""
        for fault in self.waiting:
            if fault.matches(method, path, params):
                fault.count -= 1
                if not fault.count:
                    self.waiting.remove(fault)
                return fault
        return None

    async def hold(self) -> None:
        """Wait until the held answers are released."""
        self.held += 1
        try:
            await self._released.wait()
        finally:
            self.held -= 1

    def release(self) -> None:
        """Let every held answer go."""
        self._released.set()

    def clear(self) -> None:
        """Forget all faults and let held answers go."""
        self.waiting.clear()
        self.release()

    def report(self) -> dict[str, Any]:
        """Return what is waiting, JSON-able."""
        return {"waiting": [msgspec.to_builtins(f) for f in self.waiting], "held": self.held}
