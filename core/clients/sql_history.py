"""What scheduled work asks of the database: figures of past days, and what may be forgotten."""

from dataclasses import dataclass
from typing import Final

from core import queries
from core.clients import rows
from core.clients.sql_transactions import SqlTransactions, commit
from core.daily_report import EndedCycle

# Short transactions: on SQLite each keeps the monitor from writing for as long as it takes.
FACTS_AT_ONCE = 1000
WEBHOOKS_AT_ONCE: Final = 500
JOURNALS_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """The journal of an ended cycle, and the alert that began the cycle."""

    cycle_id: int
    webhook_id: int


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
        wanted = queries.history.symbols_of_cycles(ended_after=rows.moment(ended_after_ms))
        async with self.reading() as connection:
            return tuple((await connection.execute(wanted)).scalars())

    async def ended_cycles(self, *, start_ms: int, end_ms: int) -> tuple[EndedCycle, ...]:
        """Return the figures of the cycles that ended from `start_ms` on and before `end_ms`."""
        since, before = rows.moment(start_ms), rows.moment(end_ms)
        wanted = queries.history.ended_cycles(since=since, before=before)
        async with self.reading() as connection:
            found = (await connection.execute(wanted)).mappings()
            return tuple(rows.to_ended_cycle(row) for row in found)

    async def old_journals(self, *, ended_before_ms: int) -> tuple[Journal, ...]:
        """Return journals of cycles that ended before a time, a number of them at once."""
        ended_before = rows.moment(ended_before_ms)
        wanted = queries.history.old_journals(ended_before=ended_before, limit=JOURNALS_AT_ONCE)
        async with self.reading() as connection:
            found = (await connection.execute(wanted)).all()
            return tuple(Journal(cycle_id=row.id, webhook_id=row.webhook_id) for row in found)

    async def forget(self, journal: Journal) -> Forgotten:
        """Delete a batch of a journal; of an ended cycle only.

        It goes from its end to its beginning, and with its beginning goes what the alert said. So
        what is left of it at any moment can still be replayed, from the cycle's start.
        """
        async with self.writing() as connection:
            batch = queries.history.last_facts(journal.cycle_id, limit=FACTS_AT_ONCE)
            found = (await connection.execute(batch)).all()
            if not found:
                return Forgotten()
            await connection.execute(queries.history.delete_facts([row.id for row in found]))
            is_all = found[-1].number == 0
            if is_all:
                await connection.execute(queries.history.empty_webhook(journal.webhook_id))
            await commit(connection)
        return Forgotten(facts=len(found), payloads=int(is_all))

    async def forget_webhooks(self, *, received_before_ms: int) -> Forgotten:
        """Delete a batch of old alerts that came to nothing."""
        before = rows.moment(received_before_ms)
        batch = queries.history.old_webhooks(received_before=before, limit=WEBHOOKS_AT_ONCE)
        async with self.writing() as connection:
            found = tuple((await connection.execute(batch)).scalars())
            if not found:
                return Forgotten()
            await connection.execute(queries.history.delete_webhooks(found))
            await commit(connection)
        return Forgotten(webhooks=len(found))
