"""The stories that a cycle can take, over real sockets and processes.

Each has its own payload and price path, and ends with both books being the same to the digit.
"""

import signal
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from core.domain.cycle import PositionSide, Role
from core.models.order import OrderType
from tests.integration.e2e.programs import until
from tests.integration.e2e.world import Story, World, last_webhook, standing

D = Decimal

# An entry of 0.004 BTC at 60000, without averaging and hedge.
PLAIN: dict[str, Any] = {
    "open_amount": "0.004",
    "open_leverage": "10",
    "deposit": "300",
    "extramarg": "0",
    "tp": "0.5",
    "order_quan": "0",
}


def test_1_straight_take_profit(world: World) -> None:
    story = Story(world, "BTCUSDT")
    story.enter(
        "60000",
        story.alert(
            open_amount="0.004",
            open_leverage="10",
            deposit="300",
            extramarg="600",
            tp="0.5",
            order_quan="3",
            grid_long="0.5|1|2",
            mg_long="1.5|2|2",
            mg_mode="multiplier",
            offset_short="0.2",
            sl_short="0.5",
        ),
    )
    story.until_resting(lv1=("59700", "0.006"), tp0=("60300", "0.004"))
    story.trade("60299.9", "60300")
    cycle = story.until_ended("take_profit")
    assert cycle.realised == D("1.2")
    assert cycle.commissions == D("0.16824")
    assert cycle.net_pnl == D("1.03176")


def test_2_averaging_then_take_profit(world: World) -> None:
    story = Story(world, "ETHUSDT")
    # Flat keys, numbers, arrays, a quote amount, percentages instead of multipliers.
    alert = {
        "symbol": "BINANCE:ETHUSDT.P",
        "side": "BUY",
        "positionSide": "LONG",
        "open.amountType": "quote",
        "open.amount": 60.5,
        "open.leverage": 5,
        "settings.deposit": 100,
        "settings.extramarg": 0,
        "settings.tp": 1,
        "settings.order_quan": 3,
        "settings.grid_mode": "offset",
        "settings.grid_long": [1, 2.5, 5],
        "settings.mg_long": [50, 60, 25],
        "settings.mg_mode": "percent",
        "settings.grid_ahead": 2,
    }
    story.enter("3000", alert)
    # floor_step(60.5 / 3006) = 0.020; then 0.030, 0.048, 0.060
    story.until_resting(lv1=("2970", "0.03"), lv2=("2925", "0.048"), tp0=("3030", "0.02"))
    story.trade("2970")
    # (0.020 × 3000 + 0.030 × 2970) / 0.050 = 2982, and 1 % on it
    story.until_resting(lv2=("2925", "0.048"), lv3=("2850", "0.06"), tp0=("3011.82", "0.05"))
    assert story.position(PositionSide.LONG).entry_price == D("2982")
    story.trade("2925.01", "2924")
    # (149.1 + 0.048 × 2925) / 0.098 = 2954.0816…
    story.until_resting(lv3=("2850", "0.06"), tp0=("2983.63", "0.098"))
    story.trade("2983.62", "2983.63")
    cycle = story.until_ended("take_profit")
    assert cycle.realised == D("0.098") * D("2983.63") - D("289.5")
    assert cycle.commissions == D("0.03") + D("0.01782") + D("0.02808") + D("0.05847915")


def test_3_whole_grid_hedge_and_close_by_net_pnl(world: World) -> None:
    story = Story(world, "SOLUSDT")
    story.enter(
        "150",
        story.alert(
            open_amount="1",
            open_leverage="10",
            deposit="60",
            extramarg="100",
            tp="0.5",
            order_quan="2",
            grid_long="1|1",
            mg_long="1|1",
            mg_mode="multiplier",
            offset_short="0.2",
            sl_short="0.5",
        ),
    )
    story.until_resting(lv1=("148.5", "1"), tp0=("150.75", "1"))
    story.trade("148.5")
    # The last level is out, so the hedge is armed: 1000 / 146.72 = 6.8156… SOL
    story.until_resting(lv2=("147.01", "1"), hg1=("146.72", "6.81"), tp0=("150", "2"))
    story.trade("147")
    story.until_resting(hg1=("146.72", "6.81"), tp0=("149.25", "3"))
    story.trade("146.73", "146.7")
    story.until_resting(hs1=("147.44", None), tp0=("149.25", "3"))
    assert story.position(PositionSide.SHORT).quantity == D("6.81")
    assert story.position(PositionSide.SHORT).short_trailing_price == D("147.44")
    story.trade("140")
    cycle = story.until_ended("pnl")
    assert cycle.realised == 3 * D("140") - D("445.51") + D("6.81") * (D("146.7") - D("140"))
    assert cycle.net_pnl > 0


def test_4_hedge_stopped_out_until_no_further_is_allowed(world: World) -> None:
    story = Story(world, "XRPUSDT")
    story.enter(
        "2",
        story.alert(
            open_amount="100",
            open_leverage="20",
            deposit="50",
            extramarg="40",
            tp="3",
            order_quan="1",
            grid_long="1",
            mg_long="1",
            mg_mode="multiplier",
            offset_short="0.5",
            offset_pluse="1",
            sl_short="-0.5",
            max_hedges="2",
        ),
    )
    # h₁ = 1.98 × 0.995 = 1.9701, 800 / 1.9701 = 406.07…
    story.until_resting(lv1=("1.98", "100"), hg1=("1.9701", "406"), tp0=("2.06", "100"))
    story.trade("1.98")
    story.until_resting(hg1=("1.9701", "406"), tp0=("2.0497", "200"))
    story.trade("1.97")
    story.until_resting(hs1=("1.9799", None), tp0=("2.0497", "200"))
    story.trade("1.98")
    # Lost 406 × 0.01 and 0.80185 of fees: 35.13815 × 20 / 1.9503 = 360.33…; h₂ = 1.97 × 0.99
    story.until_resting(hg2=("1.9503", "360.3"), tp0=("2.0497", "200"))
    story.trade("1.95")
    story.until_resting(hs2=("1.9598", None), tp0=("2.0497", "200"))
    story.trade("1.96")
    story.until_resting(tp0=("2.0497", "200"))
    until(lambda: len(story.alarms()) == 1, lambda: repr(story.alarms()))
    story.trade("2.05")
    cycle = story.until_ended("take_profit", alarms=["hedge"])
    closes = [o for o in story.orders() if o.type is OrderType.SHORT_MARKET_STOP_LOSS]
    assert [o.executed for o in closes] == [D("406"), D("360.3")]
    short = D("406") * D("-0.01") + D("360.3") * D("-0.01")
    assert cycle.realised == short + D("2.0497") * 200 - D("398")


def test_4_hedge_stopped_out_until_its_margin_is_spent(world: World) -> None:
    story = Story(world, "FILUSDT")
    story.enter(
        "4",
        story.alert(
            open_amount="20",
            open_leverage="10",
            deposit="20",
            extramarg="2",
            tp="6",
            order_quan="0",
            offset_short="1",
            sl_short="5",
            max_hedges="9",
            pnl_target="50",
        ),
    )
    story.until_resting(hg1=("3.96", "5"), tp0=("4.24", "20"))
    story.trade("3.96")
    story.until_resting(hs1=("4.158", None), tp0=("4.24", "20"))
    story.trade("4.16")
    # Lost 1.0 and 0.0203 of fees: what is left is worth less than 11 with leverage.
    until(lambda: len(story.alarms()) == 1, lambda: repr(story.alarms()))
    story.until_resting(tp0=("4.24", "20"))
    story.trade("4.23", "4.24")
    cycle = story.until_ended("take_profit", alarms=["no hedge"])
    assert cycle.realised == D("4.8") - D("1")


def test_5_trailing_goes_on_after_the_monitor_was_restarted(world: World) -> None:
    story = Story(world, "AVAXUSDT")
    story.enter(
        "20",
        story.alert(
            open_amount="10",
            open_leverage="10",
            deposit="100",
            extramarg="0",
            tp="9",
            order_quan="1",
            grid_long="5",
            mg_long="1",
            mg_mode="multiplier",
            trail_1="1",
            trail_2="0.5",
            trail_step="0.1",
        ),
    )
    story.until_resting(lv1=("19", "10"), tp0=("21.8", "10"))
    assert story.position(PositionSide.LONG).activation_price == D("20.2")
    story.trade("20.2")
    # S = 20.2 × 0.995 = 20.099, the guard 0.2 % below it
    story.until_resting(lv1=("19", "10"), gd0=("20.058", None))
    assert story.position(PositionSide.LONG).long_trailing_price == D("20.099")
    world.monitor.stop()
    story.trade("20.3", "20.15")  # nobody sees it
    before = standing(world)
    answer = world.send_alert(Story(world, "BTCUSDT").alert(**PLAIN))
    assert (answer.status, answer.body["status"]) == (503, "unavailable")
    assert standing(world) == before
    world.monitor.start()
    world.wait_ready()
    assert story.position(PositionSide.LONG).long_trailing_price == D("20.099")
    story.trade("20.5")
    story.until_resting(lv1=("19", "10"), gd0=("20.356", None))
    assert story.position(PositionSide.LONG).long_trailing_price == D("20.3975")
    story.trade("20.398", "20.397")
    cycle = story.until_ended("trailing")
    assert cycle.realised == D("3.97")


def test_6_closed_by_hand_from_outside(world: World) -> None:
    story = Story(world, "ALGOUSDT")
    story.enter(
        "0.2",
        story.alert(
            open_amount="500",
            open_leverage="5",
            deposit="100",
            extramarg="50",
            tp="2",
            order_quan="2",
            grid_long="1|2",
            mg_long="1|1.5",
            mg_mode="multiplier",
            offset_short="1",
            sl_short="1",
        ),
    )
    story.until_resting(lv1=("0.198", "500"), tp0=("0.204", "500"))
    take_profit = next(o for o in story.orders() if o.type is OrderType.LONG_TAKE_PROFIT)
    # A person's closing order finds the quantity reserved; they cancel what reserves it first. The
    # monitor would be quicker than they are, and offer the quantity anew in between.
    world.monitor.send(signal.SIGSTOP)
    until(lambda: world.monitor.is_frozen, lambda: "the monitor is not stopped")
    world.control("outside", {"action": "cancel", "client_id": take_profit.client_order_id})
    story.by_hand("SELL", "LONG", "500")
    world.monitor.thaw()
    cycle = story.until_ended("outside", alarms=["cancelled by someone else", "not ours"])
    assert cycle.realised == 0


def test_7_partly_filled_level_moves_the_take_profit_and_its_own_part_does_not(
    world: World,
) -> None:
    story = Story(world, "BTCUSDT")
    story.enter(
        "60000",
        story.alert(
            open_amount="0.01",
            open_leverage="10",
            deposit="500",
            extramarg="0",
            tp="1",
            order_quan="2",
            grid_long=[1, 1],
            mg_long=[2, 2],
        ),
    )
    story.until_resting(lv1=("59400", "0.02"), tp0=("60600", "0.01"))
    story.trade("59400", quantity="0.005")
    # (600 + 297) / 0.015 = 59800
    story.until_resting(lv1=("59400", "0.02"), tp0=("60398", "0.015"))
    assert story.amendments("tp0") == 1
    story.trade("60398", quantity="0.006")
    until(
        lambda: story.position(PositionSide.LONG).quantity == D("0.009"),
        lambda: repr(story.position(PositionSide.LONG)),
    )
    story.trade("59400")
    # 0.009 at 59800 and 0.015 at 59400 are 0.024 at 59550; 0.006 of the order are sold already.
    story.until_resting(lv2=("58806", "0.04"), tp0=("60145.5", "0.03"))
    assert story.amendments("tp0") == 2
    story.trade("60145.5")
    cycle = story.until_ended("take_profit")
    assert cycle.realised == D("0.006") * 598 + D("0.024") * D("595.5")


def test_8_second_alert_for_a_busy_symbol(world: World) -> None:
    story = Story(world, "ETHUSDT")
    first = story.enter(
        "3000",
        story.alert(
            open_amount="0.1",
            open_leverage="20",
            deposit="50",
            extramarg="0",
            tp="0.4",
            order_quan="1",
            grid_long=1.5,
            mg_long=2,
        ),
    )
    story.until_resting(lv1=("2955", "0.2"), tp0=("3012", "0.1"))
    before = standing(world)
    other = story.alert(**PLAIN | {"open_amount": "0.5", "open_leverage": "3"})
    answer = world.send_alert(other)
    assert answer.status == 409
    assert str(first["webhook_id"]) in answer.body["detail"]
    assert last_webhook(world).http_status == 409
    flat = world.send_alert({"symbol": "ETHUSDT", "positionSide": "flat", "side": "sell"})
    assert (flat.status, flat.body["status"]) == (200, "skipped")
    assert standing(world) == before
    story.until_resting(lv1=("2955", "0.2"), tp0=("3012", "0.1"))
    story.trade("3012.5")
    assert story.until_ended("take_profit").realised == D("1.2")


def test_9_alert_for_a_symbol_that_nobody_watches(world: World) -> None:
    story = Story(world, "LAYERUSDT")
    story.trade("1.5")
    before = standing(world)
    answer = world.send_alert(story.alert(**PLAIN | {"open_amount": "40"}))
    assert (answer.status, answer.body["status"]) == (503, "unavailable")
    assert "LAYERUSDT" in answer.body["detail"]
    assert standing(world) == before


REFUSED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "more than the account has": (
        {"deposit": "9000", "extramarg": "5000", "offset_short": "1", "sl_short": "1"},
        ("14000", "available"),
    ),
    "more than the deposit carries": (
        {"deposit": "20", "order_quan": "1", "grid_long": "1", "mg_long": "2"},
        ("716.63", "200"),
    ),
    "an order too small for the exchange": ({"open_amount": "0.001"}, ("60", "100")),
    "a quantity that rounds to nothing": ({"open_amount": "0.0004"}, ("0.000", "0.001")),
    "more leverage than there is": ({"open_leverage": "126"}, ("126", "125")),
}


@pytest.mark.parametrize(("changes", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_10_alert_that_is_refused_with_its_numbers(
    world: World, changes: dict[str, Any], words: tuple[str, ...]
) -> None:
    story = Story(world, "BTCUSDT")
    story.trade("60000")
    before = standing(world)
    answer = world.send_alert(story.alert(**PLAIN | changes))
    assert (answer.status, answer.body["status"]) == (422, "refused")
    for word in words:
        assert word in answer.body["detail"], answer.body
    assert standing(world) == before
    assert last_webhook(world).http_status == 422


def test_10_alert_for_a_symbol_that_does_not_exist(world: World) -> None:
    before = standing(world)
    answer = world.send_alert(Story(world, "NOPEUSDT").alert(**PLAIN))
    assert answer.status == 422
    assert "NOPEUSDT" in answer.body["detail"]
    assert standing(world) == before


def test_10_alert_for_a_symbol_that_a_person_uses(world: World) -> None:
    story = Story(world, "BTCUSDT")
    story.trade("60000")
    story.by_hand("SELL", "SHORT", "0.002")
    before = standing(world)
    answer = world.send_alert(story.alert(**PLAIN))
    assert answer.status == 409
    assert "0.002" in answer.body["detail"], answer.body
    assert standing(world) == before
    story.by_hand("BUY", "SHORT", "0.002")
    resting = story.by_hand("BUY", "LONG", "0.003", price="58000")
    before = standing(world)
    answer = world.send_alert(story.alert(**PLAIN))
    assert answer.status == 409
    assert standing(world) == before
    world.control("outside", {"action": "cancel", "client_id": resting})


def test_11_two_symbols_at_once(world: World) -> None:
    long_way, short_way = Story(world, "XRPUSDT"), Story(world, "AVAXUSDT")
    deep = long_way.alert(
        open_amount="50",
        open_leverage="10",
        deposit="40",
        extramarg="60",
        tp="1",
        order_quan="2",
        grid_long=[1, 1],
        mg_long=[1, 2],
        grid_ahead="2",
        offset_short="0.5",
        sl_short="2",
    )
    quick = short_way.alert(
        open_amount="30",
        open_leverage="5",
        deposit="300",
        extramarg="0",
        tp="0.8",
        order_quan="1",
        grid_long=2,
        mg_long=1,
    )
    with ThreadPoolExecutor(2) as senders:
        sent = [
            senders.submit(long_way.enter, "2", deep),
            senders.submit(short_way.enter, "20", quick),
        ]
        assert all(answer.result() for answer in sent)
    # h₁ = 1.9602 × 0.995; 600 / 1.9503 = 307.64…
    levels = {"lv1": ("1.98", "50"), "lv2": ("1.9602", "100")}
    hedge = {"hg1": ("1.9503", "307.6")}
    long_way.until_resting(**levels, **hedge, tp0=("2.02", "50"))
    short_way.until_resting(lv1=("19.6", "30"), tp0=("20.16", "30"))
    long_way.trade("1.97")
    short_way.trade("19.5")
    long_way.trade("1.96")
    short_way.until_resting(tp0=("19.959", "60"))
    long_way.until_resting(**hedge, tp0=("1.9949", "200"))
    long_way.trade("1.95")
    short_way.trade("19.96")
    long_way.until_resting(hs1=("1.989", None), tp0=("1.9949", "200"))
    long_way.trade("1.8")
    quick_cycle, deep_cycle = short_way.until_ended("take_profit"), long_way.until_ended("pnl")
    assert quick_cycle.realised == D("60") * D("0.159")
    assert deep_cycle.realised == 200 * D("1.8") - D("395.02") + D("307.6") * D("0.15")


def test_12_price_gapped_below_several_levels_and_the_hedge(world: World) -> None:
    story = Story(world, "SOLUSDT")
    story.enter(
        "150",
        story.alert(
            open_amount="2",
            open_leverage="10",
            deposit="200",
            extramarg="200",
            tp="1",
            order_quan="3",
            grid_long="1|1|1",
            mg_long="1|1|1",
            offset_short="0.5",
            sl_short="1",
        ),
    )
    story.until_resting(lv1=("148.5", "2"), tp0=("151.5", "2"))
    # h₁ = 150 × 0.99³ × 0.995 = 144.82; levels 2 and 3 never get to rest.
    story.trade("140")
    # The hedge goes by MARKET, its trigger is passed: 2000 / 144.82 = 13.81 SOL at 140.
    story.until_resting(hs1=("141.4", None), tp0=("150.75", "4"))
    assert story.position(PositionSide.SHORT).quantity == D("13.81")
    assert [o.role for o in story.orders() if o.executed] == [
        Role.ENTRY,
        Role.LEVEL,
        Role.HEDGE_MARKET,
    ]
    story.trade("130")
    cycle = story.until_ended("pnl")
    assert cycle.realised == 4 * 130 - D("597") + D("13.81") * 10


def test_12_market_above_the_take_profit_when_it_is_placed(world: World) -> None:
    story = Story(world, "FILUSDT")
    story.trade("4")
    # The fill is known to nobody before the API has its answer.
    world.control("streams", {"action": "mute", "route": "private"})
    world.fault("hold", method="POST", client_id="-en0-")
    with ThreadPoolExecutor(1) as sender:
        sending = sender.submit(
            world.send_alert,
            story.alert(
                open_amount="25",
                open_leverage="4",
                deposit="100",
                extramarg="0",
                tp="1",
                order_quan="1",
                grid_long="3",
                mg_long="1",
            ),
        )
        until(lambda: world.control("faults")["held"] == 1, lambda: "the entry is not held")
        story.trade("4.05")
        world.control("faults/release", {})
        assert sending.result().body["status"] == "accepted"
    world.control("streams", {"action": "unmute"})
    cycle = story.until_ended("take_profit")
    assert cycle.realised == 25 * D("0.05")
    assert not [o for o in story.orders() if o.role is Role.TAKE_PROFIT]
