"""The switches: how this exchange behaves where Binance's behaviour is open or can be chosen."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from typing import Any, Literal

import msgspec


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Every switch with its default; `changed` gives another set."""

    maker_fee: Decimal = Decimal("0.0002")
    taker_fee: Decimal = Decimal("0.0005")
    spread_ticks: int = 0  # 0: bid = ask = last
    over_close: Literal["reject", "cut"] = "reject"  # a close larger than what is closable
    child_first: bool = False  # fills of a triggered order before ALGO_UPDATE TRIGGERED
    account_first: bool = True  # ACCOUNT_UPDATE before ORDER_TRADE_UPDATE
    forgetful_algo_query: bool = False  # GET algoOrder answers -2013 for an open order
    max_open_algos: int = 200
    # model: spread and depth around the feed's price, see depth.py
    book: Literal["exact", "model"] = "exact"
    depth_quote: Decimal = Decimal(20_000)  # what the best level of the modelled book holds
    # through: only a trade beyond the price fills a maker
    maker_fill: Literal["touched", "through"] = "touched"
    self_trade_prevention: bool = False  # False: our own orders never meet each other
    client_id_limit: int = 36  # 35: an id of 36 characters is refused with -4015
    funding_schedule: bool = False  # settle funding at full intervals of market time
    funding_interval_ms: int = 8 * 3600 * 1000
    margin_call_ratio: Decimal = Decimal("0.8")  # maintenance margin ÷ margin balance
    countdown_cancels_algos: bool = False
    weight_limit: int = 2400  # a minute and address
    orders_minute: int = 1200
    orders_ten_seconds: int = 300
    retry_after: bool = False  # whether 429 and 418 say when to come back
    # --- what the documentation leaves unconfirmed and no client should depend on
    private_stream: Literal["key", "event"] = "key"  # `stream` of combined account events
    algos_hold_mode: bool = True  # open conditional orders keep the position mode as it is
    commission_sign: Literal["plus", "minus"] = "plus"  # of a charge in userTrades
    closes_show_reduce_only: bool = True  # REST's reduceOnly of closing orders in Hedge Mode
    false_reduce_only: Literal["ignore", "refuse"] = "ignore"  # reduceOnly=false in Hedge Mode
    child_origin: Literal["plain", "algo"] = "plain"  # origType of a triggered order
    # a close that resting ones leave no room for: the text and code of either
    covered_close: Literal["-2022", "-4118"] = "-2022"
    bracket_counts: Literal["leg", "both"] = "leg"  # what -2027 compares with the cap
    shared_ids: bool = True  # plain and conditional orders share one scope of client ids
    funding_posting: Literal["legs", "net"] = "legs"  # what is told of both legs' funding
    market_ack: Literal["new", "filled"] = "new"  # status in the ACK of a MARKET order
    v2_weight: int = 5  # of the V2 account reads; announced as 10
    amend_weight: int = 0  # IP weight of PUT order; 1 on an older page
    longest_window_ms: int = 60_000  # recvWindow


_AT_LEAST_ONE = ("depth_quote", "client_id_limit", "funding_interval_ms", "longest_window_ms")


def changed(options: Options, changes: Mapping[str, Any]) -> Options:
    """Return the options with some of them changed; values may be text.

    Raises:
        ValueError: a name or a value that does not exist; the text says which ones do.
    """
    names = [field.name for field in fields(Options)]
    unknown = [name for name in changes if name not in names]
    if unknown:
        raise ValueError(f"no option {', '.join(unknown)}; there are {', '.join(names)}")
    values = msgspec.to_builtins(options) | msgspec.to_builtins(dict(changes))
    found = msgspec.convert(values, Options, strict=False)
    for name, value in asdict(found).items():
        least = 1 if name in _AT_LEAST_ONE else 0
        if isinstance(value, int | Decimal) and not (Decimal(value).is_finite() and value >= least):
            raise ValueError(f"{name} must be at least {least}, not {value}")
    return found
