"""What happens in a run of the matrix: alerts and prices, act by act, and what rests after each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Rests = Mapping[str, tuple[str, str | None]]  # name → price or trigger, total or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One thing that happens, and what must come of it before the next does.

    Attributes:
        name: what it is about.
        prices: where the market trades; the first act's alert is sent at its price.
        asks: an alert that is sent instead.
        rests: what then rests on the exchange, and nothing else.
        reason: the cycle ends with it; `rests` does not count.
    """

    name: str
    prices: tuple[str, ...] = ()
    asks: Mapping[str, Any] = field(default_factory=dict)
    rests: Rests = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tale:
    """A whole cycle.

    Attributes:
        recovery: the number of the act that happens while nobody is there, in the runs that kill
            a process again while it starts.
    """

    name: str
    symbol: str
    settings: Mapping[str, Any]
    acts: tuple[Act, ...]
    recovery: int


# Entry 1 SOL at 150, two levels, hedges of about 6.8 SOL.
_HEDGED = {
    "open_amount": "1",
    "open_leverage": "10",
    "deposit": "60",
    "extramarg": "100",
    "tp": "0.5",
    "order_quan": "2",
    "grid_long": "1|1",
    "mg_long": "1|1",
    "offset_short": "0.2",
    "sl_short": "0.5",
}
HEDGED = Tale(
    name="hedged",
    symbol="SOLUSDT",
    settings=_HEDGED,
    acts=(
        Act(name="entry", prices=("150",), rests={"lv1": ("148.5", "1"), "tp0": ("150.75", "1")}),
        Act(
            name="level 1 fills",
            prices=("148.5",),
            rests={"lv2": ("147.01", "1"), "hg1": ("146.72", "6.81"), "tp0": ("150", "2")},
        ),
        Act(
            name="level 2 fills",
            prices=("147",),
            rests={"hg1": ("146.72", "6.81"), "tp0": ("149.25", "3")},
        ),
        Act(
            name="hedge 1 fills",
            prices=("146.7",),
            rests={"hs1": ("147.44", None), "tp0": ("149.25", "3")},
        ),
        Act(
            name="hedge 1 is stopped",
            prices=("147.44",),
            rests={"hg2": ("146.4", "6.41"), "tp0": ("149.25", "3")},
        ),
        Act(
            name="hedge 2 fills",
            prices=("146.4",),
            rests={"hs2": ("147.14", None), "tp0": ("149.25", "3")},
        ),
        Act(name="net PNL closes", prices=("139",), reason="pnl"),
    ),
    recovery=3,
)
TRAILING = Tale(
    name="trailing",
    symbol="AVAXUSDT",
    settings={
        "open_amount": "10",
        "open_leverage": "10",
        "deposit": "100",
        "extramarg": "0",
        "tp": "9",
        "order_quan": "1",
        "grid_long": "5",
        "mg_long": "1",
        "trail_1": "1",
        "trail_2": "0.5",
        "trail_step": "0.1",
    },
    acts=(
        Act(name="entry", prices=("20",), rests={"lv1": ("19", "10"), "tp0": ("21.8", "10")}),
        Act(
            name="trailing starts",
            prices=("20.2",),
            rests={"lv1": ("19", "10"), "gd0": ("20.058", None)},
        ),
        Act(
            name="the guard follows",
            prices=("20.5",),
            rests={"lv1": ("19", "10"), "gd0": ("20.356", None)},
        ),
        Act(name="trailing closes", prices=("20.397",), reason="trailing"),
    ),
    recovery=1,
)
AVERAGED = Tale(
    name="averaged",
    symbol="BTCUSDT",
    settings={
        "open_amount": "0.01",
        "open_leverage": "10",
        "deposit": "500",
        "extramarg": "0",
        "tp": "1",
        "order_quan": "2",
        "grid_long": [1, 1],
        "mg_long": [2, 2],
    },
    acts=(
        Act(
            name="entry",
            prices=("60000",),
            rests={"lv1": ("59400", "0.02"), "tp0": ("60600", "0.01")},
        ),
        Act(
            name="level 1 fills",
            prices=("59400",),
            rests={"lv2": ("58806", "0.04"), "tp0": ("60196", "0.03")},
        ),
        Act(name="the take-profit fills", prices=("60196",), reason="take_profit"),
    ),
    recovery=1,
)
SIGNALLED = Tale(
    name="signalled",
    symbol="SOLUSDT",
    settings=_HEDGED | {"order_quan": "0", "grid_long": None, "mg_long": None, "sl_short": "3"},
    acts=(
        Act(
            name="entry",
            prices=("150",),
            rests={"hg1": ("149.7", "6.68"), "tp0": ("150.75", "1")},
        ),
        Act(
            name="hedge 1 fills",
            prices=("149.7",),
            rests={"hs1": ("154.2", None), "tp0": ("150.75", "1")},
        ),
        Act(name="an alert closes", asks={"action": "close"}, reason="signal"),
    ),
    recovery=1,
)
TALES = {tale.name: tale for tale in (HEDGED, TRAILING, AVERAGED, SIGNALLED)}
PRICES = {"SOLUSDT": "150", "AVAXUSDT": "20", "BTCUSDT": "60000"}
