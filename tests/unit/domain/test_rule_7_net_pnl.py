"""Rule 7: the net PNL, its thresholds, and what counts into it."""

from dataclasses import replace
from typing import Any

import pytest

from core.domain.cycle import AssetPriced, CloseReason, FillsRead, FundingPaid, Phase
from core.domain.ledger import fold
from core.domain.strategy import Band, band
from core.domain.thresholds import net_pnl
from tests.builders import T0, Story, a_fill, btc_rules, dec


def hedged(**settings: Any) -> Story:
    return Story(**settings).entered().hedged("57800")


def paid(story: Story, amount: str, transaction_id: int = 1) -> Story:
    return story.tell(FundingPaid(at_ms=T0, transaction_id=transaction_id, amount=dec(amount)))


THRESHOLDS = [  # settings, funding, a price that does nothing, the next tick, which closes
    ({}, "0", "56953.3", "56953.2"),
    ({"pnl_target": "5"}, "0", "56865.7", "56865.6"),
    ({}, "1", "56970.8", "56970.7"),
    ({}, "-1", "56935.8", "56935.7"),
    ({"max_loss": "62"}, "0", "58038.9", "58039.0"),
]


@pytest.mark.parametrize(("settings", "funding", "quiet", "acts"), THRESHOLDS)
def test_thresholds_while_hedged(
    settings: dict[str, Any], funding: str, quiet: str, acts: str
) -> None:
    story = paid(hedged(**settings), funding)
    assert story.trade(quiet).cycle.phase is Phase.TRADING
    story.trade(acts)
    reason = CloseReason.MAX_LOSS if "max_loss" in settings else CloseReason.PNL
    assert story.cycle.close_reason is reason


def test_a_target_is_exceeded_not_met() -> None:
    story = hedged()
    earned = net_pnl(story.cycle, dec("56000"))
    story.cycle = replace(story.cycle, settings=replace(story.cycle.settings, pnl_target=earned))
    assert story.trade("56000").cycle.phase is Phase.TRADING
    assert story.trade("55999.9").cycle.phase is Phase.CLOSING


def test_unhedged_only_max_loss_closes() -> None:
    story = Story(max_loss="3").entered()
    assert net_pnl(story.cycle, dec("60200")) > 0
    assert story.trade("60200", "59350").cycle.phase is Phase.TRADING
    assert story.trade("59280").cycle.close_reason is CloseReason.MAX_LOSS


def test_without_max_loss_nothing_unhedged_closes() -> None:
    assert Story().entered().trade("30000").cycle.phase is Phase.TRADING


def test_funding_is_counted_once() -> None:
    story = paid(paid(hedged(), "1"), "1")
    assert story.cycle.funding == dec("1")
    assert paid(story, "-3", transaction_id=2).cycle.funding == dec("-2")


def test_trailing_comes_before_net_pnl_and_the_first_reason_stands() -> None:
    story = Story(trail_1="0.3", trail_2="0.1", max_loss="0.01").entered()
    story.cycle = replace(story.cycle, trailing_stop=dec("60119.82"), trailing_entry=dec("60000"))
    assert story.trade("60062").cycle.close_reason is CloseReason.TRAILING


COMMISSIONS = [  # asset, the asset's price, commission in quote
    ("USDT", None, "0.07"),
    ("BNB", "600", "42.00"),
    ("BNB", None, "0.12"),  # estimated at the taker's rate
]


@pytest.mark.parametrize(("asset", "price", "commission"), COMMISSIONS)
def test_commissions_in_another_asset(asset: str, price: str | None, commission: str) -> None:
    fill = a_fill(1, "x", "0.004", "60000", commission="0.07", asset=asset)
    prices = {} if price is None else {asset: dec(price)}
    assert fold((), (fill,), btc_rules(), prices).commissions == dec(commission)


def test_an_assets_price_revalues_what_was_estimated() -> None:
    story = Story()
    entry = story.order("entry").client_order_id
    fill = a_fill(1, entry, "0.004", "60000", commission="0.0002", asset="BNB")
    story.tell(FillsRead(at_ms=T0, fills=(fill,)))
    assert story.cycle.ledger.commissions == dec("0.12")
    story.tell(AssetPriced(at_ms=T0, asset="BNB", price=dec("500")))
    assert story.cycle.ledger.commissions == dec("0.1")
    assert story.cycle.long.held_commission == dec("0.1")


def test_a_level_line_never_crosses_a_threshold() -> None:
    # SHORT that makes the slope exactly 0: L − S = rate × (L + S)
    story = hedged()
    rules = replace(story.cycle.rules, taker_rate=dec("0.5") - dec("0.0002"))
    leg = replace(story.cycle.ledger.long, quantity=dec("0.3"))
    short = replace(story.cycle.ledger.short, quantity=dec("0.1"))
    ledger = replace(story.cycle.ledger, long=leg, short=short)
    settings = replace(story.cycle.settings, pnl_target=dec("100000"), max_loss=None)
    level = replace(story.cycle, rules=rules, ledger=ledger, settings=settings)
    assert band(level).low is None
    won = replace(level, settings=replace(settings, pnl_target=dec("-100000")))
    assert band(won) == Band(low=None, high=dec("0"))  # every trade is judged
    lost = replace(level, settings=replace(settings, max_loss=dec("1")))
    assert band(lost).high == dec("0")
