"""What a day earned, by symbol and reason."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

from core.daily_report import EndedCycle, Sums, as_markdown, daily_report

D = Decimal
DAY = date(2026, 11, 27)
BTC = EndedCycle(
    symbol="BTCUSDT",
    quote_asset="USDT",
    reason="take_profit",
    realised=D("1.2"),
    commissions=D("0.2406"),
    funding=D("-0.01"),
    net_pnl=D("0.9494"),
)
LOST = replace(BTC, reason="max_loss", realised=D("-30"), net_pnl=D("-30.2506"))
ETH = replace(BTC, symbol="ETHUSDT", reason="pnl")
SOL = replace(BTC, symbol="SOLUSDC", quote_asset="USDC")


def test_cycles_are_summed_by_symbol_and_reason() -> None:
    report = daily_report(DAY, [ETH, BTC, LOST, BTC])
    assert [(x.symbol, x.reason, x.sums.cycles, x.sums.won) for x in report.lines] == [
        ("BTCUSDT", "max_loss", 1, 0),
        ("BTCUSDT", "take_profit", 2, 2),
        ("ETHUSDT", "pnl", 1, 1),
    ]
    assert report.lines[1].sums == Sums(
        cycles=2,
        won=2,
        realised=D("2.4"),
        commissions=D("0.4812"),
        funding=D("-0.02"),
        net_pnl=D("1.8988"),
    )


def test_sums_are_exact() -> None:
    tenth = replace(BTC, realised=D("0.1"), net_pnl=D("0.1"))
    (line,) = daily_report(DAY, [tenth] * 3).lines
    assert line.sums.realised == line.sums.net_pnl == D("0.3")


def test_amounts_in_different_assets_are_not_added_up() -> None:
    totals = daily_report(DAY, [BTC, ETH, SOL]).totals()
    assert {quote: (sums.cycles, sums.net_pnl) for quote, sums in totals.items()} == {
        "USDC": (1, D("0.9494")),
        "USDT": (2, D("1.8988")),
    }


TABLE = """\
Cycles ended on 2026-11-27 (UTC)

| symbol  | reason      | cycles | won | realised |    fees | funding |  net PNL | in   |
| ------- | ----------- | -----: | --: | -------: | ------: | ------: | -------: | ---- |
| BTCUSDT | max_loss    |      1 |   0 |      -30 | -0.2406 |   -0.01 | -30.2506 | USDT |
| BTCUSDT | take_profit |      1 |   1 |      1.2 | -0.2406 |   -0.01 |   0.9494 | USDT |
| all     |             |      2 |   1 |    -28.8 | -0.4812 |   -0.02 | -29.3012 | USDT |
"""


def test_the_report_reads_as_text() -> None:
    assert as_markdown(daily_report(DAY, [BTC, LOST])) == TABLE


def test_a_day_without_an_ended_cycle() -> None:
    assert as_markdown(daily_report(DAY, [])) == "Cycles ended on 2026-11-27 (UTC): none\n"
