"""The worked example's alert and symbol, to be varied by the tests of parsing and of the grid."""

import copy
import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

from core.domain.settings import Bracket, CycleSettings, SymbolRules
from core.schemas.webhook import parse_alert

ALERT: dict[str, Any] = {
    "name": "my alert",
    "symbol": "BTCUSDT.P",
    "side": "buy",
    "positionSide": "long",
    "open": {
        "enabled": True,
        "amountType": "amount",
        "amount": "0.004",
        "leverage": "10",
        "entry_price": None,
    },
    "settings": {
        "start": True,
        "deposit": "300",
        "extramarg": "600",
        "tp": "0.5",
        "order_quan": "3",
        "grid_long": "0.5|1|2",
        "mg_long": "1.5|2|2",
        "mg_mode": "multiplier",
        "trail_1": "0",
        "trail_2": "0",
        "trail_step": "0",
        "offset_short": "0.2",
        "offset_pluse": "0.2",
        "sl_short": "0.5",
    },
}
ABSENT = object()


def alert(**changes: Any) -> dict[str, Any]:
    """Return the sample alert, changed; `open__amount` is `open.amount`, ABSENT removes a field."""
    varied = copy.deepcopy(ALERT)
    for name, value in changes.items():
        group, _, field = name.rpartition("__")
        place = varied[group] if group else varied
        if value is ABSENT:
            place.pop(field, None)
        else:
            place[field] = value
    return varied


def body(**changes: Any) -> bytes:
    """Return the sample alert, changed, as a request's bytes."""
    return json.dumps(alert(**changes)).encode()


def sample_settings(**changes: Any) -> CycleSettings:
    """Return what the sample alert, changed, asks for."""
    settings = parse_alert(body(**changes), mg_mode_default=None).settings
    assert settings is not None
    return settings


def sample_rules(**changes: Any) -> SymbolRules:
    """Return the worked example's symbol, numbers given as text."""
    rules = SymbolRules(
        symbol="BTCUSDT",
        base_asset="BTC",
        quote_asset="USDT",
        status="TRADING",
        tick_size=Decimal("0.1"),
        min_price=Decimal("500"),
        max_price=Decimal("1000000"),
        step_size=Decimal("0.001"),
        min_quantity=Decimal("0.001"),
        max_quantity=Decimal("1000"),
        market_min_quantity=Decimal("0.001"),
        market_max_quantity=Decimal("120"),
        market_step_size=Decimal("0.001"),
        min_notional=Decimal("50"),
        multiplier_up=Decimal("1.05"),
        multiplier_down=Decimal("0.95"),
        maker_rate=Decimal("0.0002"),
        taker_rate=Decimal("0.0005"),
    )
    texts = {"symbol", "base_asset", "quote_asset", "status"}
    values: dict[str, Any] = {
        name: Decimal(value) if isinstance(value, str) and name not in texts else value
        for name, value in changes.items()
    }
    return replace(rules, **values)


def bracket(leverage: int, cap: str, rate: str, cumulative: str) -> Bracket:
    """Return one leverage bracket."""
    return Bracket(
        initial_leverage=leverage,
        notional_cap=Decimal(cap),
        maintenance_rate=Decimal(rate),
        cumulative=Decimal(cumulative),
    )


BRACKETS = (bracket(125, "5000", "0.004", "0"), bracket(20, "100000", "0.01", "30"))
