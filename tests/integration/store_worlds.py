"""Cycles to store, stores to keep them in, and a way to let a lease run out."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import psycopg2
from alembic import command
from alembic.config import Config

from core.clients.alert_store import AlertStore
from core.domain.cycle import (
    Cycle,
    Fill,
    FundingPaid,
    Kind,
    OrderState,
    Phase,
    PositionSide,
    Request,
    Role,
    Side,
    client_order_id,
)
from core.domain.settings import Policy
from core.domain.step import Step
from core.ports import StepFunction
from tests.unit.samples import sample_rules, sample_settings

ROOT = Path(__file__).resolve().parent.parent.parent
START_MS = 1_780_000_000_000
PAYLOAD = {"symbol": "BTCUSDT.P", "open": {"amount": Decimal("0.004")}}


def alembic_config(url: str) -> Config:
    """Return what a program of ours hands to Alembic."""
    config = Config(str(ROOT / "alembic.ini"))
    config.attributes["url"] = url
    config.attributes["logs"] = False
    return config


def migrate(url: str) -> None:
    """Bring a database up to date."""
    command.upgrade(alembic_config(url), "head")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreWorld:
    """One database (or memory), as two processes see it."""

    store: AlertStore
    other: AlertStore  # the same data, nothing of the first one's memory
    run_out: Callable[[str], Awaitable[None]]  # lets a symbol's lease expire
    # Sets the clock back by an hour, as far as a symbol's lease can tell.
    set_back: Callable[[str], Awaitable[None]]


def new_cycle(*, key: str = "k1", symbol: str = "BTCUSDT") -> Cycle:
    """Return a cycle about to begin: its entry is intended, nothing was sent."""
    entry = OrderState(
        client_order_id=client_order_id(key=key, role=Role.ENTRY, number=0, attempt=1),
        role=Role.ENTRY,
        number=0,
        attempt=1,
        side=Side.BUY,
        position_side=PositionSide.LONG,
        kind=Kind.MARKET,
        price=None,
        quantity=Decimal("0.004"),
        request=Request.PLACE,
        target_quantity=Decimal("0.004"),
        requested_at_ms=START_MS,
        reason="rule 1",
        created_at_ms=START_MS,
    )
    return Cycle(
        cycle_id=0,
        key=key,
        symbol=symbol,
        settings=replace(sample_settings(), symbol=symbol),
        rules=replace(sample_rules(), symbol=symbol),
        policy=Policy(),
        accepted_at_ms=START_MS,
        orders=(entry,),
    )


def a_fill(*, key: str = "k1", trade_id: int = 1, **changes: object) -> Fill:
    """Return an execution of the entry."""
    fill = Fill(
        trade_id=trade_id,
        client_order_id=client_order_id(key=key, role=Role.ENTRY, number=0, attempt=1),
        side=Side.BUY,
        position_side=PositionSide.LONG,
        price=Decimal("60000.0"),
        quantity=Decimal("0.004"),
        commission=Decimal("0.12"),
        commission_asset="USDT",
        is_maker=False,
        time_ms=START_MS + 5,
    )
    return replace(fill, **changes)  # type: ignore[arg-type]  # a builder's shorthand


async def begun(
    store: AlertStore, *, key: str = "k1", symbol: str = "BTCUSDT", alert_id: str | None = None
) -> Cycle:
    """Store an alert and begin its cycle."""
    webhook_id = await store.record_webhook(
        PAYLOAD, received_at_ms=START_MS, symbol=symbol, alert_id=alert_id
    )
    return await store.begin_cycle(webhook_id, new_cycle(key=key, symbol=symbol))


def funded(number: int, amount: str = "0.1") -> StepFunction:
    """Return a step that learns of one funding payment."""

    def step(cycle: Cycle) -> Step:
        fact = FundingPaid(at_ms=START_MS + number, transaction_id=number, amount=Decimal(amount))
        after = replace(
            cycle,
            funding=cycle.funding + fact.amount,
            funding_ids=(*cycle.funding_ids, number),
        )
        return Step(before=cycle, cycle=after, facts=(fact,))

    return step


def changed(at_ms: int = START_MS + 10, **changes: object) -> StepFunction:
    """Return a step that puts these values into the cycle, whatever made it so."""

    def step(cycle: Cycle) -> Step:
        fact = FundingPaid(at_ms=at_ms, transaction_id=0, amount=Decimal(0))
        after = replace(cycle, **changes)  # type: ignore[arg-type]  # a builder's shorthand
        return Step(before=cycle, cycle=after, facts=(fact,))

    return step


def ended(at_ms: int = START_MS + 60_000) -> StepFunction:
    """Return a step that ends the cycle."""
    return changed(at_ms, phase=Phase.ENDED, ended_at_ms=at_ms)


def terminate_all(url: str) -> None:
    """Cut every connection to this database but our own, as a restart of the server does."""
    _execute(
        url,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )


def takes_writes(url: str, word: Literal["on", "off"]) -> None:
    """Let connections that are made from now on be to a primary, or as to a standby."""
    is_off = "off" if word == "on" else "on"
    name = urlsplit(url).path.removeprefix("/")
    _execute(url, f'ALTER DATABASE "{name}" SET default_transaction_read_only = {is_off}')


def _execute(url: str, statement: str) -> None:
    connection = psycopg2.connect(url, options="-c default_transaction_read_only=off")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()
