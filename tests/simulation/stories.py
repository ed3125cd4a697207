"""The stories that every cycle must live through: an alert, a price path, how it ends.

Each is told once undisturbed, once for every moment at which the monitor may die, and once for
every order whose answer may get lost.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal

from core.domain.cycle import CloseReason, OperatorAction
from core.domain.settings import CycleSettings
from simulation.faults import Fault, FaultKind
from simulation.invariants import prove_ended, prove_protected, watch
from simulation.loop import run
from simulation.streams import Weather
from tests.simulation.stage import CHECK_EVERY_S, Death, Moment, Stage, alert, trailing_alert

D = Decimal
Path = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One alert and what the market does; undisturbed it closes for `reason`, earning `net`."""

    path: Path
    reason: CloseReason
    net: str
    settings: CycleSettings = field(default_factory=alert)


def play(
    story: Story,
    *,
    dies_at: Death | None = None,
    faults: tuple[Fault, ...] = (),
    api_dies: Moment | None = None,
    seed: int = 0,
) -> Stage:
    """Play a story to its end and prove it; return the stage, to be looked at.

    A disturbed story may miss the trade that would have closed it. What then stays open must have
    its exits, and close when the operator asks.
    """
    is_disturbed = dies_at is not None or api_dies is not None or bool(faults)

    async def main() -> Stage:
        async with Stage(story.settings, dies_at=dies_at, seed=seed) as stage:
            watch(stage)
            stage.api_dies = api_dies
            for fault in faults:
                stage.gateway.faults.add(fault)
            await story.path(stage)
            await stage.finish()
            if is_disturbed and stage.cycle.is_open:
                assert stage.is_quiet, "\n".join(stage.told[-20:])
                prove_protected(stage)
                await stage.close()
            prove_ended(stage)
        return stage

    return run(main())


async def rest(stage: Stage) -> None:
    """Check that what is held has its exits, once nothing is under way and news had their time."""
    if not stage.is_told:
        await stage.settle(CHECK_EVERY_S + 10)
    if stage.is_quiet:
        prove_protected(stage)


async def walk(stage: Stage, *prices: str, quantity: str = "1000") -> None:
    """Walk the market and check at each rest that what is held has its exits."""
    for price in prices:
        await stage.walk(price, quantity=quantity)
        await rest(stage)


async def enter(stage: Stage, price: str = "60000") -> None:
    """Enter, and check the exits."""
    await stage.enter(price)
    await rest(stage)


# --- The twelve ways of a cycle ---


async def _straight_up(stage: Stage) -> None:
    await enter(stage)
    await walk(stage, "60100", "60300")


async def _averaged(stage: Stage) -> None:
    await enter(stage)
    await walk(stage, "59700", "59103", "59500", "59726.1")


async def _whole_grid(stage: Stage) -> None:
    await enter(stage)
    await walk(stage, "59700", "59103", "57920.9", "57805", "57000", "56900")


async def _stopped_out_twice(stage: Stage) -> None:
    await enter(stage)
    await walk(stage, "59700", "59103", "57920.9", "57805", "58094.1")  # hedge 1 and its stop-loss
    await walk(stage, "57689.3", "57980", "58500", "58935.4")  # hedge 2 and its; take-profit


async def _stopped_out_until_the_margin_is_spent(stage: Stage) -> None:
    await enter(stage)
    await walk(stage, "59700", "59103", "57920.9", "57805", "58094.1", "57600", "58935.4")


async def _trailing(stage: Stage) -> None:
    await enter(stage)
    await walk(stage, "60180", "60250", "60290", "60280", "60229.7")


async def _trailing_restarted(stage: Stage) -> None:
    await enter(stage)
    await walk(stage, "60180", "60250")
    await stage.restart_desk()
    await walk(stage, "60290")
    await stage.restart_desk()
    await walk(stage, "60229.7")


async def _closed_by_hand(stage: Stage) -> None:
    await enter(stage)
    await walk(stage, "59700")
    stage.world.outside_cancel(_open(stage, "-tp0-"), stage.clock.now_ms())
    stage.world.outside_market("BTCUSDT", "SELL", "LONG", D("0.010"), stage.clock.now_ms())
    stage.streams.pump()
    await stage.settle()


async def _partly_filled(stage: Stage) -> None:
    await enter(stage)
    await walk(stage, "59700", quantity="0.002")
    await walk(stage, "59699", quantity="0.004")
    await walk(stage, "60119.1", quantity="0.003")
    await walk(stage, "59103", "59726.1")


async def _gapped(stage: Stage) -> None:
    await enter(stage)
    await walk(stage, "57000", "56500", "56000", "55000")


async def _gapped_with_all_levels_out(stage: Stage) -> None:
    await enter(stage)
    await walk(stage, "57000", "56500", "56000", "55000")


async def _funded_to_the_last(stage: Stage) -> None:
    await enter(stage)
    await walk(stage, "59700")
    _fund(stage, "0.0001")
    await walk(stage, "60000")
    _fund(stage, "-0.0003")
    await walk(stage, "60119.1")


async def _stopped_out_unseen(stage: Stage) -> None:
    await enter(stage)
    await walk(stage, "59700", "59103", "57920.9", "57805")
    stage.streams.weather = Weather(lost=1.0)
    for path in ("userTrades", "lgoOrder"):
        stage.gateway.faults.add(Fault(kind=FaultKind.RESET, method="get", path=path, count=15))
    await stage.trade("58094.1")
    await stage.close()
    await stage.settle(30)
    stage.market.calm()


async def _operator_closes(stage: Stage) -> None:
    await enter(stage)
    await walk(stage, "59700", "59103", "57920.9", "57805")
    await stage.ask(OperatorAction.CLOSE)


STORIES = {
    "straight to the take-profit": Story(
        path=_straight_up, reason=CloseReason.TAKE_PROFIT, net="1.03176"
    ),
    "averaged, then the take-profit": Story(
        path=_averaged, reason=CloseReason.TAKE_PROFIT, net="5.94191796"
    ),
    "whole grid, hedge, closed by net PNL": Story(
        path=_whole_grid, reason=CloseReason.PNL, net="5.24988498"
    ),
    "hedge stopped out until max_hedges is reached": Story(
        path=_stopped_out_twice,
        settings=alert(max_hedges=2),
        reason=CloseReason.TAKE_PROFIT,
        net="-57.2168779",
    ),
    "hedge stopped out and no margin is left for another": Story(
        path=_stopped_out_until_the_margin_is_spent,
        settings=alert(extramarg=D("12")),
        reason=CloseReason.TAKE_PROFIT,
        net="11.6429877",
    ),
    "trailing": Story(
        path=_trailing, settings=trailing_alert(), reason=CloseReason.TRAILING, net="0.6783406"
    ),
    "trailing, the monitor restarted meanwhile": Story(
        path=_trailing_restarted,
        settings=trailing_alert(),
        reason=CloseReason.TRAILING,
        net="0.6783406",
    ),
    "closed by hand": Story(path=_closed_by_hand, reason=CloseReason.OUTSIDE, net="-1.69014"),
    "levels and take-profit partly filled": Story(
        path=_partly_filled, reason=CloseReason.TAKE_PROFIT, net="5.94101814"
    ),
    "the price gaps below several levels and the hedge's trigger": Story(
        path=_gapped, reason=CloseReason.PNL, net="11.98061"
    ),
    "the price gaps below levels that all rest": Story(
        path=_gapped_with_all_levels_out,
        settings=alert(grid_ahead=3),
        reason=CloseReason.PNL,
        net="30.81789248",
    ),
    "funding is paid, the last time just before the end": Story(
        path=_funded_to_the_last, reason=CloseReason.TAKE_PROFIT, net="2.7994218"
    ),
    "the stop-loss fills, and nobody shows its executions for a while": Story(
        path=_stopped_out_unseen, reason=CloseReason.OPERATOR, net="-62.90277547"
    ),
    "the operator closes both sides": Story(
        path=_operator_closes, reason=CloseReason.OPERATOR, net="-46.40253752"
    ),
}


# --- The races ---


async def _take_profit_fills_while_trailing_cancels_it(stage: Stage) -> None:
    await enter(stage)
    await stage.trade("60180", "60300")  # trailing starts; the limit is hit before the cancel
    await stage.settle()


async def _take_profit_fills_as_the_cancel_arrives(stage: Stage) -> None:
    await enter(stage)
    stage.gateway.faults.add(
        Fault(kind=FaultKind.LATE_REQUEST, method="delete", client_id="-tp0-", delay_ms=500)
    )
    await stage.trade("60180")
    await stage.settle(0.3)
    await stage.trade("60300")
    await stage.settle()


async def _level_fills_during_the_amendment(stage: Stage) -> None:
    await enter(stage)
    stage.gateway.faults.add(
        Fault(kind=FaultKind.LATE_REQUEST, method="put", client_id="-tp0-", delay_ms=1_500)
    )
    await stage.trade("59700")
    await stage.settle(1.0)
    await stage.trade("59103")
    await stage.settle()
    await walk(stage, "59726.1")


async def _level_fills_before_the_amendment_is_answered(stage: Stage) -> None:
    await enter(stage)
    stage.gateway.faults.add(
        Fault(kind=FaultKind.LATE_ANSWER, method="put", client_id="-tp0-", delay_ms=3_000)
    )
    await stage.trade("59700")
    await stage.settle(1.5)
    await stage.trade("59103")
    await stage.settle()
    await walk(stage, "59726.1")


async def _take_profit_fills_during_its_amendment(stage: Stage) -> None:
    await enter(stage)
    stage.gateway.faults.add(
        Fault(kind=FaultKind.LATE_REQUEST, method="put", client_id="-tp0-", delay_ms=1_500)
    )
    await stage.trade("59700")
    await stage.settle(1.0)
    await stage.trade("60300")
    await stage.settle()
    await walk(stage, "60400")


async def _hedge_triggers_after_long_is_gone(stage: Stage) -> None:
    await enter(stage)
    await walk(stage, "59700", "59103", "57920.9")
    await stage.trade("58935.4", "57805")
    await stage.settle()


async def _take_profit_fills_after_the_hedge_triggered(stage: Stage) -> None:
    await enter(stage)
    await walk(stage, "59700", "59103", "57920.9")
    await stage.trade("57805", "58935.4")
    await stage.settle()


async def _stop_loss_after_net_pnl(stage: Stage) -> None:
    await enter(stage)
    await walk(stage, "59700", "59103", "57920.9", "57805")
    await stage.trade("56900", "58100")
    await stage.settle()


async def _net_pnl_after_stop_loss(stage: Stage) -> None:
    await enter(stage)
    await walk(stage, "59700", "59103", "57920.9", "57805")
    await stage.trade("58100", "56900")
    await stage.settle()


async def _level_fills_during_the_close(stage: Stage) -> None:
    await enter(stage)
    await walk(stage, "59700")
    await stage.trade("59400", "59103")  # max_loss; the next level is hit before its cancel
    await stage.settle()


async def _gap_below_everything(stage: Stage) -> None:
    await enter(stage)
    await stage.trade("57805", "57000")
    await stage.settle()
    await walk(stage, "56500", "55500", "54000")


async def _market_above_the_take_profit(stage: Stage) -> None:
    await stage.enter_only("60000")
    await stage.trade("60400")
    await stage.settle()


async def _guard_and_trailing_together(stage: Stage) -> None:
    await enter(stage)
    await walk(stage, "60180", "60290")
    await stage.trade("60200", "60090")  # the trailing stop, and the guard before our close
    await stage.settle()


async def _guard_while_the_monitor_is_away(stage: Stage) -> None:
    await enter(stage)
    await walk(stage, "60180", "60290")
    await stage.kill_desk()
    await stage.trade("60200", "60090", "60300")
    await stage.restart_desk()
    await stage.settle()


async def _entry_partly_filled(stage: Stage) -> None:
    await stage.trade("60000")
    stage.world.set_liquidity("BTCUSDT", D("0.003"))
    await enter(stage)
    stage.world.set_liquidity("BTCUSDT", None)
    await walk(stage, "59700", "60127.8")


async def _nothing_is_answered(stage: Stage) -> None:
    stage.gateway.faults.add(Fault(kind=FaultKind.LOST_ANSWER, method="post", path="rder", count=6))
    stage.gateway.faults.add(Fault(kind=FaultKind.LOST_ANSWER, method="put", count=3))
    await enter(stage)
    await stage.settle(20)
    await walk(stage, "59700", "59103", "57920.9", "57805", "56900", "56800")


async def _both_closes_in_parts(stage: Stage) -> None:
    await enter(stage)
    await walk(stage, "59700", "59103", "57920.9", "57805")
    stage.world.set_liquidity("BTCUSDT", D("0.050"))
    await stage.trade("56900")
    await stage.settle(0.5)
    stage.world.set_liquidity("BTCUSDT", None)
    await stage.settle()


RACES = {
    "the take-profit fills as trailing starts": Story(
        path=_take_profit_fills_while_trailing_cancels_it,
        settings=trailing_alert(),
        reason=CloseReason.TAKE_PROFIT,
        net="1.03176",
    ),
    "the take-profit fills before its cancel arrives": Story(
        path=_take_profit_fills_as_the_cancel_arrives,
        settings=trailing_alert(),
        reason=CloseReason.TAKE_PROFIT,
        net="1.03176",
    ),
    "a level fills before the amendment arrives": Story(
        path=_level_fills_during_the_amendment, reason=CloseReason.TAKE_PROFIT, net="5.94191796"
    ),
    "a level fills before the amendment is answered": Story(
        path=_level_fills_before_the_amendment_is_answered,
        reason=CloseReason.TAKE_PROFIT,
        net="5.94191796",
    ),
    "the take-profit fills before its amendment arrives": Story(
        path=_take_profit_fills_during_its_amendment, reason=CloseReason.TAKE_PROFIT, net="4.37922"
    ),
    "the hedge triggers after LONG is gone": Story(
        path=_hedge_triggers_after_long_is_gone, reason=CloseReason.TAKE_PROFIT, net="6.3831718"
    ),
    "the take-profit fills as the hedge has opened": Story(
        path=_take_profit_fills_after_the_hedge_triggered,
        reason=CloseReason.TAKE_PROFIT,
        net="-110.1062438",
    ),
    "the stop-loss triggers during the net-PNL close": Story(
        path=_stop_loss_after_net_pnl, reason=CloseReason.PNL, net="-63.23951502"
    ),
    "net PNL closes before the news that the stop-loss filled": Story(
        path=_net_pnl_after_stop_loss,
        settings=alert(max_hedges=1),
        reason=CloseReason.PNL,
        net="-118.41191502",
    ),
    "a level fills during the close": Story(
        path=_level_fills_during_the_close,
        settings=alert(max_loss=D("4.5")),
        reason=CloseReason.MAX_LOSS,
        net="-8.1536202",
    ),
    "a gap below everything at once": Story(
        path=_gap_below_everything, reason=CloseReason.PNL, net="11.98061"
    ),
    "the market is above the take-profit when it is placed": Story(
        path=_market_above_the_take_profit, reason=CloseReason.TAKE_PROFIT, net="1.3592"
    ),
    "guard and trailing close together": Story(
        path=_guard_and_trailing_together,
        settings=trailing_alert(),
        reason=CloseReason.TRAILING,
        net="0.11982",
    ),
    "the guard closes while nobody watches": Story(
        path=_guard_while_the_monitor_is_away,
        settings=trailing_alert(),
        reason=CloseReason.TRAILING,
        net="0.11982",
    ),
    "the entry fills in part": Story(
        path=_entry_partly_filled, reason=CloseReason.TAKE_PROFIT, net="1.87266108"
    ),
    "no order's request is answered": Story(
        path=_nothing_is_answered, reason=CloseReason.PNL, net="5.24988498"
    ),
    "both closes fill in parts": Story(
        path=_both_closes_in_parts, reason=CloseReason.PNL, net="5.24988498"
    ),
}


def _fund(stage: Stage, rate: str) -> None:
    stage.world.funding("BTCUSDT", D(rate), stage.clock.now_ms())
    stage.streams.pump()


def _open(stage: Stage, part: str) -> str:
    state = stage.world.state
    return next(o.client_id for o in state.orders.values() if part in o.client_id and o.is_open)
