"""Isolated margin, margin calls, liquidation, the funding schedule."""

from decimal import Decimal
from typing import Any

from tests.unit.paper.bench import BTC, START_MS, Bench

D = Decimal
EIGHT_HOURS_MS = 8 * 3600 * 1000


def _isolated(leverage: int = 20, **options: Any) -> Bench:
    bench = Bench(**options)
    bench.ok("POST", "v1/leverage", symbol=BTC, leverage=leverage)
    bench.ok("POST", "v1/marginType", symbol=BTC, marginType="ISOLATED")
    assert bench.seen("ACCOUNT_UPDATE")[-1]["a"]["m"] == "MARGIN_TYPE_CHANGE"
    return bench


def test_an_isolated_leg_sets_its_margin_aside_and_frees_it_in_parts() -> None:
    bench = _isolated()
    bench.buy_long("0.1")
    (row,) = bench.get("v3/positionRisk", symbol=BTC)
    assert (row["isolatedWallet"], row["isolatedMargin"]) == ("300", "300.00000000")
    (balance,) = bench.get("v3/balance")
    assert (balance["balance"], balance["crossWalletBalance"]) == ("9997.00000000", "9697.00000000")
    assert balance["availableBalance"] == "9697.00000000"
    update = bench.seen("ACCOUNT_UPDATE")[-1]["a"]
    assert (update["B"][0]["wb"], update["B"][0]["cw"]) == ("9997", "9697")
    assert (update["P"][1]["iw"], update["P"][1]["mt"]) == ("300", "isolated")
    bench.trade("61000")
    bench.order("SELL", "LONG", "0.06")
    assert bench.get("v3/positionRisk", symbol=BTC)[0]["isolatedWallet"] == "120"
    bench.order("SELL", "LONG", "0.04")
    (balance,) = bench.get("v3/balance")
    assert balance["balance"] == balance["crossWalletBalance"]


def test_legs_are_isolated_from_each_other_and_liquidated_alone() -> None:
    bench = _isolated()
    bench.buy_long("0.1")
    bench.order("SELL", "SHORT", "0.05")
    bench.buy_long("0.01", price="55000", id="resting")
    rows = {r["positionSide"]: r for r in bench.get("v3/positionRisk", symbol=BTC)}
    # (300 − 6000) / (0.1 × 0.004 − 0.1) with the first bracket's 0.4 %
    assert D(rows["LONG"]["liquidationPrice"]).quantize(D(1)) == D(57229)
    assert D(rows["SHORT"]["liquidationPrice"]).quantize(D(1)) == D(62749)
    bench.trade("57300")
    assert bench.long() == D("0.1")
    bench.trade("57200")
    assert (bench.long(), bench.short()) == (D(0), D("0.05"))
    assert bench.order_story("resting")[-1] == ("EXPIRED", "EXPIRED")
    last = [e["o"] for e in bench.seen("ORDER_TRADE_UPDATE") if e["o"]["x"] == "CALCULATED"]
    assert [o["c"].startswith("autoclose-") for o in last] == [True]
    # 280 lost and 71.5 of fee, of which the leg had 300: the insurance fund pays the rest
    books = bench.world.ledger()
    assert D(books["balances"]["insurance"]) == D("-51.5")
    assert D(books["wallet"]) == D(10000) - D("3") - D("1.5") - D(300)


def test_an_isolated_position_keeps_its_leverage() -> None:
    bench = _isolated()
    bench.buy_long("0.1")
    assert bench.code("POST", "v1/leverage", symbol=BTC, leverage=10) == -4161
    assert bench.ok("POST", "v1/leverage", symbol=BTC, leverage=50)["leverage"] == 50


def test_isolated_one_way_mode_sets_margin_aside_anew_when_it_turns_around() -> None:
    bench = _isolated(dual_side=False)
    bench.order("BUY", "BOTH", "0.1")
    bench.order("SELL", "BOTH", "0.15")
    (row,) = bench.get("v3/positionRisk", symbol=BTC)
    assert (row["positionAmt"], row["isolatedWallet"]) == ("-0.050", "150")


def test_funding_of_an_isolated_leg_comes_out_of_its_own_wallet() -> None:
    bench = _isolated()
    bench.buy_long("0.1")
    bench.world.funding(BTC, D("0.001"), bench.now_ms)
    bench.pulse(0)
    update = bench.seen("ACCOUNT_UPDATE")[-1]["a"]
    assert (update["m"], update["S"], update["P"][0]["iw"]) == ("FUNDING_FEE", BTC, "294")


def test_a_margin_call_comes_once_before_the_liquidation() -> None:
    bench = Bench(wallet=D(1000))
    bench.ok("POST", "v1/leverage", symbol=BTC, leverage=100)
    bench.buy_long("1")
    bench.trade("59360")
    assert bench.seen("MARGIN_CALL") == []
    bench.trade("59335")
    bench.trade("59334")
    (call,) = bench.seen("MARGIN_CALL")
    assert call["cw"] == "970"
    assert [(row["s"], row["ps"], row["mt"]) for row in call["p"]] == [(BTC, "LONG", "CROSSED")]
    bench.trade("60000")  # out of danger: the next time it is told again
    bench.trade("59335")
    assert len(bench.seen("MARGIN_CALL")) == 2
    bench.trade("59200")
    assert bench.long() == 0


def test_an_isolated_leg_gets_its_own_margin_call() -> None:
    bench = _isolated(leverage=100)
    bench.buy_long("0.1")
    bench.trade("59670")
    (call,) = bench.seen("MARGIN_CALL")
    assert "cw" not in call
    assert (call["p"][0]["mt"], call["p"][0]["iw"]) == ("ISOLATED", "60")


def test_funding_falls_due_at_full_intervals_of_market_time() -> None:
    bench = Bench(funding_schedule=True)
    bench.order("SELL", "SHORT", "0.1")
    bench.tick()
    due = bench.get("v1/premiumIndex", symbol=BTC)["nextFundingTime"]
    assert due == (START_MS // EIGHT_HOURS_MS + 1) * EIGHT_HOURS_MS
    bench.tick(due - bench.now_ms - 1)
    assert bench.world.ledger()["funding"] == "0"
    bench.tick(1)
    assert D(bench.world.ledger()["funding"]) == D("0.6")  # a SHORT receives a positive rate
    bench.tick(1000)
    assert D(bench.world.ledger()["funding"]) == D("0.6")
    (rate,) = bench.get("v1/fundingRate", symbol=BTC)
    assert (rate["fundingTime"], rate["fundingRate"]) == (due, "0.00010000")
    (paid,) = bench.get("v1/income", incomeType="FUNDING_FEE")
    assert paid["income"] == "0.60000000"


def test_no_funding_falls_due_where_it_is_switched_off() -> None:
    bench = Bench()
    bench.buy_long("0.1")
    bench.tick()
    bench.tick(2 * EIGHT_HOURS_MS)
    assert bench.world.ledger()["funding"] == "0"
    assert bench.get("v1/fundingInfo") == []


def test_another_funding_interval_is_told() -> None:
    bench = Bench(funding_interval_ms=3600 * 1000, funding_schedule=True)
    rows = bench.get("v1/fundingInfo")
    assert {row["fundingIntervalHours"] for row in rows} == {1}


def test_open_orders_show_their_notional() -> None:
    bench = Bench()
    bench.buy_long("0.01", price="59000")
    (row,) = bench.get("v3/positionRisk", symbol=BTC)
    assert (row["bidNotional"], row["askNotional"]) == ("590", "0")
