"""How often something was refused that nobody needs a line each for."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import structlog

LOG_EVERY_S: Final = 5.0
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class TurnedAway:
    """Counts refusals by their reason, and logs the counts every few seconds at most."""

    event: str
    counts: Counter[str] = field(default_factory=Counter)
    told_at: float = float("-inf")

    def note(self, reason: str, now: float) -> None:
        """Count one more."""
        self.counts[reason] += 1
        if now - self.told_at >= LOG_EVERY_S:
            _log.warning(self.event, **self.counts)
            self.counts.clear()
            self.told_at = now
