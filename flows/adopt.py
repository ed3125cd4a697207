"""Taking on a position that this database did not open, on the operator's word."""

import asyncio
from dataclasses import dataclass

from core.adoption import Adoption, AdoptionPicture, plan_adoption
from core.clients.alert_store import AlertStore
from core.domain.settings import Policy
from core.domain.webhook import WebhookStatus
from core.errors import AlertInvalid, FieldError
from core.ports import AccountGateway, Clock
from core.schemas.webhook import Alert
from flows.positions_flow import new_cycle_key
from flows.runtime import flow


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the operator asks for."""

    symbol: str
    alert: Alert  # whose settings the cycle gets
    asked_by: str
    is_confirmed: bool  # False: only say what would happen


def _tags(
    gateway: AccountGateway, store: AlertStore, clock: Clock, asked: Asked, policy: Policy
) -> tuple[str, ...]:
    return (f"symbol:{asked.symbol}", "adopt")


@flow(tags_of=_tags)
async def adopt_position(
    gateway: AccountGateway, store: AlertStore, clock: Clock, asked: Asked, policy: Policy
) -> Adoption:
    """Return the cycle that takes the symbol's LONG on; begun, if that was confirmed.

    Raises:
        AlertInvalid: it cannot be, with every reason.
        ExchangeError: the exchange did not answer; nothing was done.
        StoreError: what `AlertStore.begin_cycle` raises; SymbolBusy: a cycle is open.
        GuardRefused: the kill switch is thrown.
    """
    settings, symbol = asked.alert.settings, asked.symbol
    if settings is None or asked.alert.symbol != symbol:
        reason = f"must be an alert that opens a cycle on {symbol}"
        raise AlertInvalid([FieldError(field="symbol", value=asked.alert.symbol, reason=reason)])
    prices, config, position, orders, rules = await asyncio.gather(
        gateway.best_prices(symbol),
        gateway.symbol_config(symbol),
        gateway.positions(symbol),
        gateway.open_orders(symbol),
        gateway.rules(symbol),
    )
    now_ms = clock.now_ms()
    adoption = plan_adoption(
        settings,
        rules,
        AdoptionPicture(
            prices=prices,
            config=config,
            position=position,
            open_orders=tuple(report for _, report in orders),
        ),
        policy=policy,
        key=new_cycle_key(now_ms),
        now_ms=now_ms,
    )
    if asked.is_confirmed:
        webhook = await store.record_webhook(
            asked.alert.payload,
            received_at_ms=now_ms,
            symbol=symbol,
            status=WebhookStatus.PROCESSING,
            warnings=(*asked.alert.warnings, *adoption.warnings),
        )
        await store.begin_cycle(webhook, adoption.cycle)
        await store.finish_webhook(
            webhook,
            status=WebhookStatus.ACCEPTED,
            http_status=200,
            outcome=f"the position was adopted by {asked.asked_by}",
        )
    return adoption
