"""How often somebody may do something: buckets that fill with time. Pure."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

SOURCES_KEPT: Final = 10_000  # a few megabytes; whoever was quiet for longest is forgotten first


@dataclass(slots=True)
class Bucket:
    """Allowance that grows by `rate` a second up to `burst`."""

    rate: float
    burst: float
    left: float
    filled_at: float

    def fill(self, now: float) -> float:
        """Return what is left now."""
        passed = max(0.0, now - self.filled_at)
        self.left = min(self.burst, self.left + passed * self.rate)
        self.filled_at = now
        return self.left

    def take(self, now: float) -> bool:
        """Take one; False, and nothing taken, if less is left."""
        if self.fill(now) < 1:
            return False
        self.left -= 1
        return True


class Buckets:
    """One bucket per source, for a bounded number of sources."""

    def __init__(self, *, rate: float, burst: float, most: int = SOURCES_KEPT) -> None:
        self._rate, self._burst, self._most = rate, burst, most
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        """Return how many sources are remembered."""
        return len(self._buckets)

    def of(self, source: str, now: float) -> Bucket:
        """Return the source's bucket; a new one is full."""
        bucket = self._buckets.get(source)
        if bucket is None:
            bucket = Bucket(self._rate, self._burst, self._burst, now)
            self._buckets[source] = bucket
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(source)
        return bucket
