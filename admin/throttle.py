"""How long a wrong password keeps its sender, and all strangers together, waiting. Pure.

Delays grow with each wrong attempt, and end: nobody is kept out for good. A flood of wrong
passwords from everywhere makes all strangers wait, among them an operator at a new browser; not one
at a browser that he has logged in with before, nor one at the machine itself.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

FORGET_AFTER_S: Final = 3600.0  # without a further attempt
SENDERS_KEPT: Final = 10_000  # whoever was quiet for longest is forgotten first


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """After `free` attempts the next waits one second, then two, four, … up to `most_s`."""

    free: int
    most_s: float

    def after(self, attempts: int) -> float:
        """Return the seconds between this many attempts and the next."""
        beyond = attempts - self.free
        return min(self.most_s, 2.0 ** min(beyond, 30)) if beyond >= 0 else 0.0


OF_ONE: Final = Delays(free=3, most_s=300.0)
OF_ALL: Final = Delays(free=20, most_s=30.0)


@dataclass(slots=True)
class _Attempts:
    count: int = 0
    last_at: float = float("-inf")

    def wait(self, delays: Delays, now: float) -> float:
        if now - self.last_at >= FORGET_AFTER_S:
            self.count = 0
        return max(0.0, self.last_at + delays.after(self.count) - now)

    def add(self, now: float) -> None:
        self.count += 1
        self.last_at = now


class LoginThrottle:
    """Counts attempts by sender, and of all strangers; one per process."""

    def __init__(self, *, most: int = SENDERS_KEPT) -> None:
        """Remember at most this many senders."""
        self._most = most
        self._senders: OrderedDict[str, _Attempts] = OrderedDict()
        self._strangers = _Attempts()

    def __len__(self) -> int:
        """Return how many senders are remembered."""
        return len(self._senders)

    def begin(self, sender: str, now: float, *, is_stranger: bool) -> float:
        """Return 0 if a password may be tried now, else the seconds to wait.

        The attempt counts as a wrong one from here on, so that many at once are many; one that has
        to wait counts for nothing. `succeed` takes it back.
        """
        attempts = self._senders.setdefault(sender, _Attempts())
        self._senders.move_to_end(sender)
        if len(self._senders) > self._most:
            self._senders.popitem(last=False)
        wait_s = attempts.wait(OF_ONE, now)
        if is_stranger:
            wait_s = max(wait_s, self._strangers.wait(OF_ALL, now))
        if wait_s > 0:
            return wait_s
        attempts.add(now)
        if is_stranger:
            self._strangers.add(now)
        return 0.0

    def succeed(self, sender: str, *, is_stranger: bool) -> None:
        """Forget the sender's attempts: the password was right."""
        self._senders.pop(sender, None)
        if is_stranger:
            self._strangers.count = max(0, self._strangers.count - 1)
