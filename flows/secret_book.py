"""Which secrets alerts may carry: the installation's own, and those in the database.

The database is asked every two seconds at most, whoever sends whatever: a secret is valid, or no
longer, two seconds after it was made, or revoked.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog
from pydantic import SecretStr

from core.alert_secrets import fitting, is_same
from core.clients.alert_store import AlertStore
from core.domain.webhook import AlertSecret
from core.errors import StoreError, StoreUnavailable
from flows.intake import ANYONE, Sender

READ_AFTER_S: Final = 2.0
READ_WITHIN_S: Final = 0.8  # the sender waits, and gives up after three seconds
OPEN_WITHIN_S: Final = 5.0  # at start nobody waits
_log = structlog.get_logger(__name__)


class SecretBook:
    """Knows the secrets; one per process."""

    def __init__(
        self,
        store: AlertStore,
        *,
        installation: SecretStr | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Know the secrets in `store`, and the installation's own (WEBHOOK_SECRET)."""
        self._store = store
        self._installation = installation
        self._clock = clock
        self._known: tuple[AlertSecret, ...] | None = None  # None: never read
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def sender_of(self, *given: str | None) -> Sender | None:
        """Return who carries these secrets; None: one is wrong, or one is needed.

        What stands in the address and what stands in the body must both be right, and the sender
        may only do what both allow. Without any secret made or configured, anyone may send; once
        one was made, never again.

        Raises:
            StoreUnavailable: the secrets could not be read, not even once.
        """
        known = await self._secrets()
        own = self._installation
        if own is None and not known:
            return ANYONE
        found: list[Sender] = []
        for text in given:
            if text is None:
                continue
            # Both are always compared, so that the time taken tells nothing.
            is_own = own is not None and is_same(text, own.get_secret_value())
            secret = fitting(text, known)
            if secret is not None:
                found.append(Sender(secret_id=secret.secret_id, may_close_all=secret.may_close_all))
            elif is_own:
                found.append(ANYONE)
            else:
                return None
        if not found:
            return None
        ids = [sender.secret_id for sender in found if sender.secret_id is not None]
        return Sender(
            secret_id=ids[0] if ids else None,
            may_close_all=all(sender.may_close_all for sender in found),
        )

    async def _secrets(self) -> tuple[AlertSecret, ...]:
        if self._clock() - self._read_at >= READ_AFTER_S:
            async with self._reading:
                if self._clock() - self._read_at >= READ_AFTER_S:
                    await self._read()
        if self._known is None:
            raise StoreUnavailable("the secrets of alerts cannot be read")
        return self._known

    async def open(self) -> None:
        """Read the secrets at start, when nobody waits; the first alert reads them again."""
        async with self._reading:
            await self._read(within_s=OPEN_WITHIN_S)
            self._read_at = float("-inf")

    async def _read(self, *, within_s: float = READ_WITHIN_S) -> None:
        try:
            async with asyncio.timeout(within_s):
                self._known = await self._store.secrets()
        except (StoreError, TimeoutError) as error:
            _log.warning("secrets of alerts not read", error=str(error) or "too slow")
        if self._known is not None:  # else the next alert tries at once
            self._read_at = self._clock()
