"""The store over a database: the state, the fact and the requests of a step in one commit.

One writer per cycle: the cycle's row is locked (SQLite: the database is) before its state is read.
A cycle that this process saw last under the same version is not read again. Only what changed is
written: orders, new fills, new alarms; facts are numbered.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from core import queries
from core.clients import rows
from core.clients.alert_store import LEASE_MS, UNLISTED, merged_rules
from core.clients.clean import MAX_SYMBOL, clean_id, clean_payload, clean_text
from core.clients.notices import Notices, notice_of
from core.clients.sql_cycles import (
    KnownCycles,
    execute_each,
    insert_cycle,
    inserted_id,
    read_cycles,
    save_step,
)
from core.clients.sql_leases import (
    acquired,
    change_lease,
    database_ms,
    is_held,
    is_watched,
    require_lease,
)
from core.clients.sql_safety import SqlSafety, account_state, lock_switch
from core.clients.sql_transactions import commit
from core.domain.cycle import Cycle, Fact, OperatorAction, Phase, PositionSide
from core.domain.guards import NO_GUARDS, Guards, Kill, guard_refusals
from core.domain.settings import SymbolRules
from core.domain.step import Step
from core.domain.webhook import AlertContent, AlertSecret, Webhook, WebhookStatus
from core.errors import (
    AlertClosed,
    DuplicateAlert,
    GuardRefused,
    StoreConflict,
    StoreError,
    StoreUnavailable,
    SymbolBusy,
)
from core.money import ZERO
from core.news import news_of
from core.ports import Lease, OperatorRequest, StepFunction
from core.queries.tables import Rows

MAX_KNOWN = 256  # cycles: more than a process has symbols


class SqlCycleStore(SqlSafety):
    """An `AlertStore` (and so a `CycleStore`) on PostgreSQL or SQLite."""

    def __init__(self, engine: AsyncEngine, *, notices: Notices | None = None) -> None:
        """Keep cycles in the database of `engine`; `notices` hear of new alarms and of news."""
        super().__init__(engine, notices=notices or Notices())
        self._known = KnownCycles(limit=MAX_KNOWN)

    # --- CycleStore ---

    async def load_open(self, symbols: Sequence[str], *, ended_after_ms: int) -> tuple[Cycle, ...]:
        """Return the open cycles of these symbols, and those ended after the given time."""
        ended_after = rows.moment(ended_after_ms)
        async with self.reading() as connection:
            wanted = queries.cycles.open_cycles(symbols, ended_after=ended_after)
            return await read_cycles(connection, wanted, self._known)

    async def update(self, cycle_id: int, step: StepFunction, *, lease: Lease | None) -> Step:
        """Lock the cycle, apply `step`, and save what it changed; see `CycleStore.update`."""
        try:
            return await self._update(cycle_id, step, lease)
        except StoreConflict as error:
            cycle = await self.load(cycle_id)
            refusal = await self._busy(error, "" if cycle is None else cycle.symbol)
            raise refusal from error.__cause__

    async def journal(self, cycle_id: int) -> tuple[Fact, ...]:
        """Return the cycle's facts in the order in which they were applied."""
        async with self.reading() as connection:
            found = await connection.execute(queries.cycles.journal(cycle_id))
            return tuple(rows.to_fact(row) for row in found.mappings())

    async def acquire_lease(self, symbol: str, owner: str) -> Lease | None:
        """Take (or renew, as the same owner) the symbol's lease; None while another holds it."""
        try:
            async with self.writing() as connection:
                lease = await acquired(connection, symbol, owner)
                if lease is not None:
                    await commit(connection)
                return lease
        except StoreConflict:
            return None  # the symbol's first lease was taken at the same moment by another

    async def renew_leases(self, leases: Sequence[Lease]) -> tuple[Lease, ...]:
        """Renew in one transaction; return those still ours."""
        ours = []
        async with self.writing() as connection:
            now_ms = await database_ms(connection)
            renewed = {
                "expires_at": rows.moment(now_ms + LEASE_MS),
                "renewed_at": rows.moment(now_ms),
            }
            # In one order everywhere, so that no two transactions wait for each other.
            for lease in sorted(leases, key=lambda lease: lease.symbol):
                if await change_lease(connection, lease, renewed):
                    ours.append(lease)
            await commit(connection)
        return tuple(lease for lease in leases if lease in ours)

    async def release_lease(self, lease: Lease) -> None:
        """Give the symbol back at once."""
        async with self.writing() as connection:
            now = rows.moment(await database_ms(connection))
            given_back = {"owner": "", "expires_at": now, "last_check_ok": False}
            if await change_lease(connection, lease, given_back):
                await commit(connection)

    async def record_checks(self, results: Mapping[Lease, bool]) -> tuple[Lease, ...]:
        """Record for each symbol whether its check succeeded; return the leases that are over."""
        over: list[Lease] = []
        async with self.writing() as connection:
            now = rows.moment(await database_ms(connection))
            for lease, is_good in results.items():
                values = {"last_check_at": now, "last_check_ok": is_good}
                if not await change_lease(connection, lease, values):
                    over.append(lease)
            await commit(connection)
        return tuple(over)

    async def operator_requests(self, symbols: Sequence[str]) -> tuple[OperatorRequest, ...]:
        """Return the waiting operator actions of open cycles, oldest first."""
        async with self.reading() as connection:
            found = await connection.execute(queries.operator.waiting_operator_actions(symbols))
            return tuple(rows.to_operator_request(row) for row in found.mappings())

    async def finish_operator_request(self, action_id: int, result: str) -> None:
        """Record what became of an operator action."""
        async with self.writing() as connection:
            now = rows.moment(await database_ms(connection))
            await connection.execute(
                queries.operator.finish_operator_action(action_id, clean_text(result), at=now)
            )
            await commit(connection)

    # --- Alerts ---

    async def record_webhook(
        self,
        payload: Mapping[str, object],
        *,
        received_at_ms: int,
        symbol: str | None = None,
        alert_id: str | None = None,
        secret_id: int | None = None,
        status: WebhookStatus = WebhookStatus.PROCESSING,
        http_status: int | None = None,
        outcome: str = "",
        warnings: Sequence[str] = (),
    ) -> int:
        """Store an alert and return its id; see `AlertStore.record_webhook`."""
        values = {
            "payload": clean_payload(payload),
            "received_at": rows.moment(received_at_ms),
            "symbol": None if symbol is None else clean_text(symbol, limit=MAX_SYMBOL),
            "alert_id": clean_id(alert_id),
            "secret_id": secret_id,
            "status": status,
            "http_status": http_status,
            "outcome": clean_text(outcome),
            "warnings": [clean_text(warning) for warning in warnings],
        }
        async with self.writing() as connection:
            webhook_id = await inserted_id(connection, queries.alerts.insert_webhook(values))
            await commit(connection)
            return webhook_id

    async def webhook(self, webhook_id: int) -> Webhook | None:
        """Return a stored alert."""
        async with self.reading() as connection:
            found = await connection.execute(queries.alerts.webhook(webhook_id))
            row = found.mappings().first()
            return None if row is None else rows.to_webhook(row)

    async def finish_webhook(
        self,
        webhook_id: int,
        *,
        status: WebhookStatus,
        http_status: int,
        outcome: str,
        warnings: Sequence[str] = (),
    ) -> WebhookStatus:
        """Record the answer; a final status stays. See `AlertStore.finish_webhook`."""
        async with self.writing() as connection:
            stored, _ = await _locked_webhook(connection, webhook_id)
            kept = stored if stored.is_final else status
            answer = {"status": kept, "http_status": http_status, "outcome": clean_text(outcome)}
            values = answer | _told(warnings)
            await connection.execute(queries.alerts.update_webhook(webhook_id, values))
            await commit(connection)
            return kept

    async def begin_cycle(
        self,
        webhook_id: int,
        cycle: Cycle,
        *,
        warnings: Sequence[str] = (),
        content: AlertContent | None = None,
        guards: Guards = NO_GUARDS,
    ) -> Cycle:
        """Store the cycle and mark the alert accepted; see `AlertStore.begin_cycle`."""
        alert_id = None
        try:
            async with self.writing() as connection:
                # First of all locks: whoever waits for it holds nothing that another waits for.
                kill = await lock_switch(connection)
                status, alert_id = await _locked_webhook(connection, webhook_id)
                if status is not WebhookStatus.PROCESSING:
                    raise AlertClosed(webhook_id, status=status)
                await _require_guards(connection, guards, cycle, kill)
                accepted = {"status": WebhookStatus.ACCEPTED} | _told(warnings)
                if content is not None:
                    before = rows.moment(content.since_ms)
                    old = queries.alerts.release_content(content.digest, before=before)
                    await connection.execute(old)
                    accepted["content"] = content.digest
                await connection.execute(queries.alerts.update_webhook(webhook_id, accepted))
                begun = await insert_cycle(connection, webhook_id, cycle)
                await self._notify(connection, cycle.symbol)
                await commit(connection)
        except StoreConflict as error:
            refusal = await self._refusal(error, cycle.symbol, alert_id, content)
            raise refusal from error.__cause__
        self._known.keep(0, begun)
        return begun

    async def forgotten_webhooks(self, *, received_before_ms: int) -> tuple[int, ...]:
        """Return alerts received before this that still count as being processed."""
        before = rows.moment(received_before_ms)
        async with self.reading() as connection:
            found = await connection.execute(queries.alerts.forgotten_webhooks(before))
            return tuple(found.scalars())

    async def abandon_webhook(
        self, webhook_id: int, *, http_status: int | None, outcome: str
    ) -> bool:
        """Give an alert up, unless its cycle has begun; see `AlertStore.abandon_webhook`."""
        async with self.writing() as connection:
            status, _ = await _locked_webhook(connection, webhook_id)
            if status.is_final:
                return False
            values = {
                "status": WebhookStatus.TIMED_OUT,
                "http_status": http_status,
                "outcome": clean_text(outcome),
            }
            await connection.execute(queries.alerts.update_webhook(webhook_id, values))
            await commit(connection)
            return True

    async def find_accepted_alert(self, alert_id: str) -> int | None:
        """Return the webhook that was accepted with this alert id."""
        return await self._number(queries.alerts.accepted_webhook(clean_id(alert_id) or ""))

    async def find_accepted_content(self, content: AlertContent) -> int | None:
        """Return the webhook that was accepted with this content, lately."""
        since = rows.moment(content.since_ms)
        return await self._number(queries.alerts.accepted_content(content.digest, since=since))

    async def busy_webhook(self, symbol: str) -> int | None:
        """Return the webhook whose cycle is open on the symbol."""
        return await self._number(queries.alerts.busy_webhook(symbol))

    async def is_watched(self, symbol: str) -> bool:
        """Return whether a monitor holds the symbol's lease and its last check succeeded."""
        async with self.reading() as connection:
            held = (await connection.execute(queries.leases.lease(symbol))).mappings().first()
        return held is not None and is_watched(held)

    async def watched(self, symbols: Collection[str]) -> frozenset[str]:
        """Return which of these symbols are watched."""
        return frozenset(lease["symbol"] for lease in await self._leases(symbols, is_watched))

    async def leased(self, symbols: Collection[str]) -> frozenset[str]:
        """Return for which of these symbols a monitor holds the lease, watched or not."""
        return frozenset(lease["symbol"] for lease in await self._leases(symbols, is_held))

    async def open_symbols(self) -> tuple[str, ...]:
        """Return every symbol that has an open cycle."""
        async with self.reading() as connection:
            return tuple((await connection.execute(queries.cycles.open_symbols())).scalars())

    # --- Who may send alerts, and for which symbols ---

    async def paused_by(self, symbol: str) -> str | None:
        """Return who asked that no cycle be opened on the symbol; None: nobody."""
        async with self.reading() as connection:
            asked_by = (await connection.execute(queries.alerts.symbol_pause(symbol))).scalar()
        return None if asked_by is None else str(asked_by)

    async def pause_symbol(self, symbol: str, *, asked_by: str, asked_at_ms: int) -> bool:
        """Let no cycle be opened on the symbol any more; False if so it was."""
        values = {
            "symbol": clean_text(symbol, limit=MAX_SYMBOL),
            "asked_by": clean_text(asked_by, limit=128),
            "asked_at": rows.moment(asked_at_ms),
        }
        try:
            async with self.writing() as connection:
                await connection.execute(queries.alerts.insert_symbol_pause(values))
                await commit(connection)
        except StoreConflict:
            return False
        return True

    async def resume_symbol(self, symbol: str) -> bool:
        """Let cycles be opened on the symbol again; False if so it was."""
        return await self.changes_one(queries.alerts.delete_symbol_pause(symbol))

    async def add_secret(
        self, name: str, digest: str, *, may_close_all: bool, created_by: str, created_at_ms: int
    ) -> int:
        """Keep the digest of a source's new secret; return its number."""
        values = {
            "name": clean_text(name, limit=64),
            "digest": digest,
            "may_close_all": may_close_all,
            "created_by": clean_text(created_by, limit=128),
            "created_at": rows.moment(created_at_ms),
        }
        async with self.writing() as connection:
            secret_id = await inserted_id(connection, queries.alerts.insert_secret(values))
            await commit(connection)
            return secret_id

    async def secrets(self) -> tuple[AlertSecret, ...]:
        """Return all secrets of alerts, revoked ones included."""
        async with self.reading() as connection:
            found = (await connection.execute(queries.alerts.secrets())).mappings()
            return tuple(rows.to_secret(row) for row in found)

    async def revoke_secret(self, secret_id: int, *, at_ms: int) -> bool:
        """Take a secret out of use; False if there is none, or it was."""
        at = rows.moment(at_ms)
        return await self.changes_one(queries.alerts.revoke_secret(secret_id, at=at))

    # --- Cycles, by other names ---

    async def load(self, cycle_id: int) -> Cycle | None:
        """Return a cycle by its id."""
        return await self._cycle(queries.cycles.cycle(cycle_id))

    async def open_cycle(self, symbol: str) -> Cycle | None:
        """Return the symbol's open cycle."""
        return await self._cycle(queries.cycles.open_cycle(symbol))

    async def cycle_by_key(self, key: str) -> Cycle | None:
        """Return the cycle whose client order ids begin with this key."""
        return await self._cycle(queries.cycles.cycle_by_key(key))

    async def cycle_by_client_order_id(self, client_order_id: str) -> Cycle | None:
        """Return the cycle that an order of ours belongs to."""
        return await self._cycle(queries.cycles.cycle_by_client_order_id(client_order_id))

    async def cycle_of_webhook(self, webhook_id: int) -> Cycle | None:
        """Return the cycle that an alert began."""
        return await self._cycle(queries.cycles.cycle_of_webhook(webhook_id))

    async def begun_as(self, cycle_id: int) -> Cycle | None:
        """Return the cycle as it began."""
        async with self.reading() as connection:
            payload = (await connection.execute(queries.cycles.begun_as(cycle_id))).scalar()
        return None if payload is None else rows.to_begun(payload, cycle_id=cycle_id)

    async def open_cycles_margin(self) -> Decimal:
        """Return deposit plus extramarg, summed over all open cycles (quote)."""
        async with self.reading() as connection:
            margins = (await connection.execute(queries.cycles.open_margins())).all()
        return sum((row.deposit + row.extramarg for row in margins), ZERO)

    # --- Operator ---

    async def ask_operator(
        self, cycle_id: int, action: OperatorAction, *, asked_by: str, asked_at_ms: int
    ) -> int | None:
        """Ask the monitor to act on a cycle; None if the cycle is not open."""
        async with self.writing() as connection:
            # Locked: it must not end meanwhile.
            locked = await connection.execute(queries.cycles.lock_cycle(cycle_id))
            cycle = locked.mappings().first()
            if cycle is None or cycle["phase"] is Phase.ENDED:
                return None
            values = {
                "cycle_id": cycle_id,
                "symbol": cycle["symbol"],
                "action": action,
                "asked_by": clean_text(asked_by, limit=128),
                "asked_at": rows.moment(asked_at_ms),
            }
            insert = queries.operator.insert_operator_action(values)
            action_id = await inserted_id(connection, insert)
            await self._notify(connection, cycle["symbol"])
            await commit(connection)
            return action_id

    async def operator_result(self, action_id: int) -> str | None:
        """Return what became of an operator's request; None while it waits."""
        async with self.reading() as connection:
            found = await connection.execute(queries.operator.operator_result(action_id))
            result = found.scalar()
        return None if result is None else str(result)

    # --- Rules ---

    async def save_rules(
        self,
        rules: Sequence[SymbolRules],
        *,
        read_at_ms: int,
        with_fees: bool = True,
        is_whole_list: bool = False,
    ) -> None:
        """Store rules as read from the exchange; see `AlertStore.save_rules`."""
        try:
            async with self.writing() as connection:
                found = (await connection.execute(queries.rules.lock_symbols())).mappings()
                known = {row["symbol"]: rows.to_rules(row) for row in found}
                await _save_rules(connection, rules, known, read_at_ms, with_fees=with_fees)
                gone = sorted(known.keys() - {read.symbol for read in rules})
                if is_whole_list and gone:
                    at = rows.moment(read_at_ms)
                    unlist = queries.rules.mark_unlisted(gone, status=UNLISTED, at=at)
                    await connection.execute(unlist)
                await commit(connection)
        except StoreConflict as error:  # another monitor stored the same new symbols just now
            raise StoreUnavailable("the rules are being written by another process") from error

    async def rules(self, symbol: str) -> SymbolRules | None:
        """Return the stored rules of one symbol."""
        async with self.reading() as connection:
            found = (await connection.execute(queries.rules.symbol(symbol))).mappings().first()
            return None if found is None else rows.to_rules(found)

    async def all_rules(self) -> tuple[SymbolRules, ...]:
        """Return all stored rules, by symbol."""
        async with self.reading() as connection:
            found = (await connection.execute(queries.rules.symbols())).mappings()
            return tuple(rows.to_rules(row) for row in found)

    async def show_prices(self, prices: Sequence[tuple[Cycle, Decimal]]) -> None:
        """Show people what each cycle is worth at its price; see `AlertStore.show_prices`."""
        async with self.writing() as connection:
            now = rows.moment(await database_ms(connection))
            # Only what the price says: the caller's cycle may be older than the row. In one order
            # everywhere, so that no two transactions wait for each other.
            sides = [
                {
                    "of_cycle": cycle.cycle_id,
                    "of_side": side,
                    **rows.price_values(cycle, price),
                    "updated_at": now,
                }
                for cycle, price in sorted(prices, key=lambda shown: shown[0].cycle_id)
                for side in PositionSide
            ]
            await execute_each(connection, queries.cycles.update_position(), sides)
            await commit(connection)

    # --- One step ---

    async def _update(self, cycle_id: int, step: StepFunction, lease: Lease | None) -> Step:
        async with self.writing() as connection:
            locked = (await connection.execute(queries.cycles.lock_cycle(cycle_id))).first()
            if locked is None:
                raise StoreConflict(f"there is no cycle {cycle_id}")
            if lease is not None:  # after the wait for the row, or leases could not be renewed
                await require_lease(connection, lease)
            version, journal_length = locked.version, locked.journal_length
            result = step(await self._current(connection, cycle_id, version))
            if result.changes_nothing:
                return result
            self._known.forget(cycle_id)  # not known again before the commit succeeded
            raised = await save_step(
                connection, result, version=version + 1, journal_length=journal_length
            )
            symbol, key = result.cycle.symbol, result.cycle.key
            alarms = (notice_of(alarm, symbol=symbol, cycle=key) for alarm in raised)
            await self.commit_and_tell(connection, (*alarms, *news_of(result)))
        self._known.keep(version + 1, result.cycle)
        return result

    async def _current(self, connection: AsyncConnection, cycle_id: int, version: int) -> Cycle:
        """Return the locked cycle: from memory, if nobody wrote since."""
        known = self._known.get(cycle_id, version)
        if known is not None:
            return known
        (cycle,) = await read_cycles(connection, queries.cycles.cycle(cycle_id), self._known)
        return cycle

    # --- Parts ---

    async def _notify(self, connection: AsyncConnection, symbol: str) -> None:
        """Wake the symbol's monitor once this transaction is committed; see `db_notify`."""
        if not self._is_sqlite:
            await connection.execute(queries.operator.notify(symbol))

    async def _leases(
        self, symbols: Collection[str], is_it: Callable[[rows.Row], bool]
    ) -> list[rows.Row]:
        async with self.reading() as connection:
            found = (await connection.execute(queries.leases.leases())).mappings().all()
        return [lease for lease in found if lease["symbol"] in symbols and is_it(lease)]

    async def _cycle(self, statement: Rows) -> Cycle | None:
        async with self.reading() as connection:
            found = await read_cycles(connection, statement, self._known)
        return found[0] if found else None

    async def _number(self, statement: Rows) -> int | None:
        async with self.reading() as connection:
            found = (await connection.execute(statement)).scalar()
        return None if found is None else int(found)

    # --- What a unique index refused ---

    async def _refusal(
        self, error: StoreConflict, symbol: str, alert_id: str | None, content: AlertContent | None
    ) -> StoreError:
        if content is not None and _is_about(error, "ux_webhook_content", "webhook.content"):
            return DuplicateAlert(None, first=str(await self.find_accepted_content(content)))
        if alert_id is not None and _is_about(error, "ux_webhook_accepted_alert", "alert_id"):
            return DuplicateAlert(alert_id, first=str(await self.find_accepted_alert(alert_id)))
        return await self._busy(error, symbol)

    async def _busy(self, error: StoreConflict, symbol: str) -> StoreError:
        if not _is_about(error, "ux_cycle_open_symbol", "cycle.symbol"):
            return error
        holder = await self.busy_webhook(symbol)
        return SymbolBusy(symbol, holder=None if holder is None else str(holder))


def _is_about(error: StoreConflict, index: str, sqlite_column: str) -> bool:
    """Return whether this unique index refused; SQLite names the column instead."""
    return index in str(error) or str(error).endswith(sqlite_column)


# --- Webhooks and rules ---


async def _locked_webhook(
    connection: AsyncConnection, webhook_id: int
) -> tuple[WebhookStatus, str | None]:
    found = (await connection.execute(queries.alerts.lock_webhook(webhook_id))).mappings().first()
    if found is None:
        raise StoreConflict(f"there is no webhook {webhook_id}")
    return found["status"], found["alert_id"]


async def _require_guards(
    connection: AsyncConnection, guards: Guards, cycle: Cycle, kill: Kill | None
) -> None:
    now_ms = cycle.accepted_at_ms
    state = await account_state(connection, guards, kill=kill, symbol=cycle.symbol, now_ms=now_ms)
    refusals = guard_refusals(guards, cycle.settings, state, now_ms=now_ms)
    if refusals:
        raise GuardRefused(refusals)


def _told(warnings: Sequence[str]) -> dict[str, Any]:
    return {"warnings": [clean_text(warning) for warning in warnings]} if warnings else {}


async def _save_rules(
    connection: AsyncConnection,
    rules: Sequence[SymbolRules],
    known: Mapping[str, SymbolRules],
    read_at_ms: int,
    *,
    with_fees: bool,
) -> None:
    new, changed = [], []
    for read in rules:
        if read.symbol not in known:
            new.append(rows.from_rules(read, read_at_ms=read_at_ms))
            continue
        merged = merged_rules(known[read.symbol], read, with_fees=with_fees)
        values = rows.from_rules(merged, read_at_ms=read_at_ms)
        del values["symbol"]
        changed.append({"of_symbol": read.symbol, **values})
    await execute_each(connection, queries.rules.insert_symbols(), new)
    await execute_each(connection, queries.rules.update_symbol(), changed)
