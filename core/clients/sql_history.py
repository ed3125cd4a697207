"""What scheduled work asks of the database: figures of past days, and what may be forgotten."""

from dataclasses import dataclass
from typing import Final

from core import queries
from core.clients import rows
from core.clients.sql_transactions import SqlTransactions, commit
from core.daily_report import EndedCycle

# Short transactions: on SQLite each keeps the monitor from writing for as long as it takes.
FACTS_AT_ONCE: Final = 1000
WEBHOOKS_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What one batch of the retention took away."""

    facts: int = 0
    payloads: int = 0  # of alerts whose cycles stay
    webhooks: int = 0  # that began no cycle

    @property
    def is_nothing(self) -> bool:
        """Return whether there was nothing left to forget."""
        return not (self.facts or self.payloads or self.webhooks)

    def __add__(self, other: "Forgotten") -> "Forgotten":
        """Return both together."""
        return Forgotten(
            facts=self.facts + other.facts,
            payloads=self.payloads + other.payloads,
            webhooks=self.webhooks + other.webhooks,
        )


class SqlHistory(SqlTransactions):
    """Reads and trims what is past; it writes nothing that a cycle is made of."""

    async def symbols_since(self, ended_after_ms: int) -> tuple[str, ...]:
        """Return the symbols with an open cycle, or with one that ended after a time."""
        wanted = queries.symbols_of_cycles(ended_after=rows.moment(ended_after_ms))
        async with self.reading() as connection:
            return tuple((await connection.execute(wanted)).scalars())

    async def ended_cycles(self, *, start_ms: int, end_ms: int) -> tuple[EndedCycle, ...]:
        """Return the figures of the cycles that ended from `start_ms` on and before `end_ms`."""
        wanted = queries.ended_cycles(since=rows.moment(start_ms), before=rows.moment(end_ms))
        async with self.reading() as connection:
            found = (await connection.execute(wanted)).mappings()
            return tuple(rows.to_ended_cycle(row) for row in found)

    async def forget_facts(self, *, ended_before_ms: int) -> Forgotten:
        """Delete a batch of the journals of cycles that ended before a time.

        Each journal goes from its end to its beginning, and with its beginning goes what the alert
        said. So what is left of one at any moment can still be replayed, from the cycle's start.
        """
        batch = queries.old_facts(ended_before=rows.moment(ended_before_ms), limit=FACTS_AT_ONCE)
        async with self.writing() as connection:
            found = (await connection.execute(batch)).all()
            if not found:
                return Forgotten()
            await connection.execute(queries.delete_facts([row.id for row in found]))
            begun = [row.webhook_id for row in found if row.number == 0]
            if begun:
                await connection.execute(queries.empty_webhooks(begun))
            await commit(connection)
        return Forgotten(facts=len(found), payloads=len(begun))

    async def forget_webhooks(self, *, received_before_ms: int) -> Forgotten:
        """Delete a batch of old alerts that came to nothing."""
        received_before = rows.moment(received_before_ms)
        batch = queries.old_webhooks(received_before=received_before, limit=WEBHOOKS_AT_ONCE)
        async with self.writing() as connection:
            found = tuple((await connection.execute(batch)).scalars())
            if not found:
                return Forgotten()
            await connection.execute(queries.delete_webhooks(found))
            await commit(connection)
        return Forgotten(webhooks=len(found))
