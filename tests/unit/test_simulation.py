"""The simulation's tools: time that jumps, streams with weather, faults for one request."""

import asyncio
import contextlib
from dataclasses import replace
from decimal import Decimal as D

import pytest

from core.domain.band import Band
from core.domain.cycle import Kind, OrderState, PositionSide, ReportedStatus, Request, Role, Side
from core.errors import ExchangeUnavailable, OutcomeUnknown, RequestRefused
from core.translate.events import AccountEvent, OrderNews
from paper.world import World
from simulation.faults import Fault, FaultKind
from simulation.gateway import SimulatedGateway
from simulation.loop import (
    START_MS,
    NothingLeftError,
    NoTimePassesError,
    Process,
    VirtualClock,
    run,
    this_process,
)
from simulation.streams import SimulatedStreams, Weather

BTC = "BTCUSDT"


# --- time ---


def test_a_day_of_waiting_passes_at_once_and_shows_on_the_clock() -> None:
    async def main() -> int:
        await asyncio.sleep(86_400)
        return VirtualClock().now_ms()

    assert run(main()) == START_MS + 86_400_000


def test_what_waits_ends_in_order_of_time() -> None:
    async def main() -> list[tuple[int, int]]:
        clock, ends = VirtualClock(), list[tuple[int, int]]()

        async def wait(ms: int) -> None:
            await asyncio.sleep(ms / 1000)
            ends.append((ms, clock.now_ms() - START_MS))

        await asyncio.gather(*(wait(ms) for ms in (300, 7, 4_000, 20)))
        return ends

    assert run(main()) == [(7, 7), (20, 20), (300, 300), (4_000, 4_000)]


def test_time_outs_are_virtual_too() -> None:
    async def main() -> int:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3_600):
                await asyncio.Event().wait()
        return VirtualClock().now_ms()

    assert run(main()) == START_MS + 3_600_000


def test_who_is_cancelled_as_the_answer_comes_is_cancelled() -> None:
    async def main() -> None:
        clock = VirtualClock()
        world = World(now_ms=clock.now_ms(), symbols=[BTC])
        gateway = SimulatedGateway(world, clock, latency_ms=(20, 20))
        asking = asyncio.create_task(gateway.is_hedge_mode())
        # A timer of the same moment as the answer's, set behind it: the answer is there, and the
        # task that waits for it has not run yet.
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(
            0.01, lambda: asyncio.get_running_loop().call_later(0.01, asking.cancel)
        )
        await asyncio.wait({asking})
        assert clock.now_ms() == START_MS + 20
        assert asking.cancelled()

    run(main())


def test_a_deadlock_is_an_error_and_not_a_wait() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(NothingLeftError):
        run(main())


def test_a_busy_loop_is_an_error_and_not_a_hang() -> None:
    async def main() -> None:
        while True:  # noqa: ASYNC110 - the busy loop that is looked for
            await asyncio.sleep(0)

    with pytest.raises(NoTimePassesError):
        run(main())


# --- the exchange ---


class Stage:
    """A world with its gateway and streams, and what was heard."""

    def __init__(self, *, seed: int = 0, weather: Weather | None = None) -> None:
        self.clock = VirtualClock()
        self.world = World(now_ms=self.clock.now_ms(), symbols=[BTC])
        self.heard: list[AccountEvent] = []
        self.trades: list[D] = []
        self.streams = SimulatedStreams(
            world=self.world,
            clock=self.clock,
            on_event=self.heard.append,
            on_trade=lambda symbol, price, time_ms: self.trades.append(price),
            bands={BTC: Band()},
            weather=weather or Weather(),
            seed=seed,
        )
        self.gateway = SimulatedGateway(
            self.world, self.clock, seed=seed, after_request=self.streams.pump
        )
        self.streams.trade(BTC, D(60000))

    def level(self, name: str = "tb-s-lv1-1") -> OrderState:
        return OrderState(
            client_order_id=name,
            role=Role.LEVEL,
            number=1,
            attempt=1,
            side=Side.BUY,
            position_side=PositionSide.LONG,
            kind=Kind.LIMIT,
            price=D(59000),
            quantity=D("0.010"),
            target_price=D(59000),
            target_quantity=D("0.010"),
            request=Request.PLACE,
            requested_at_ms=self.clock.now_ms(),
            created_at_ms=self.clock.now_ms(),
        )

    def statuses(self) -> list[ReportedStatus]:
        return [news.report.status for news in self.heard if isinstance(news, OrderNews)]


def test_events_arrive_after_the_answer_or_before_it_but_in_their_order() -> None:
    async def main() -> list[ReportedStatus]:
        stage = Stage()
        await stage.gateway.place(BTC, stage.level())
        stage.streams.trade(BTC, D(58_999), D("0.004"))
        stage.streams.trade(BTC, D(58_998), D(1))
        await asyncio.sleep(1)
        return stage.statuses()

    assert run(main()) == [ReportedStatus.OPEN, ReportedStatus.OPEN, ReportedStatus.FILLED]


def test_weather_doubles_and_loses_events_the_same_way_for_the_same_seed() -> None:
    async def main(seed: int) -> int:
        stage = Stage(seed=seed, weather=Weather(doubled=0.5, lost=0.3, keeps_order=False))
        for number in range(30):
            await stage.gateway.place(BTC, stage.level(f"tb-s-lv{number}-1"))
        await asyncio.sleep(1)
        return len(stage.statuses())

    counts = [run(main(seed)) for seed in (1, 1, 2, 3)]
    assert counts[0] == counts[1]
    assert len(set(counts)) > 1


def test_while_disconnected_nothing_is_told_and_nothing_is_told_later() -> None:
    async def main() -> Stage:
        stage = Stage()
        stage.streams.is_connected = False
        await stage.gateway.place(BTC, stage.level())
        stage.streams.is_connected = True
        await asyncio.sleep(1)
        return stage

    assert run(main()).heard == []


def test_a_band_holds_trades_back() -> None:
    async def main() -> list[D]:
        stage = Stage()
        stage.streams.bands[BTC].set(D(59_000), D(61_000))
        for price in (59_500, 59_000, 60_999, 61_001):
            stage.streams.trade(BTC, D(price))
        return stage.trades

    assert run(main()) == [D(59_000), D(61_001)]


LATE = {  # the fault, and whether the order exists in the end
    "the request is lost": (Fault(kind=FaultKind.LOST_REQUEST), False),
    "the answer is lost": (Fault(kind=FaultKind.LOST_ANSWER), True),
    "the connection breaks": (Fault(kind=FaultKind.RESET), True),
    "the answer comes too late": (Fault(kind=FaultKind.LATE_ANSWER, delay_ms=4_500), True),
    "the request comes after our time-out": (
        Fault(kind=FaultKind.LATE_REQUEST, delay_ms=4_500),
        True,
    ),
    "the request comes after its window": (
        Fault(kind=FaultKind.LATE_REQUEST, delay_ms=6_000),
        False,
    ),
}


@pytest.mark.parametrize(("fault", "exists"), LATE.values(), ids=LATE.keys())
def test_an_order_without_an_answer_may_or_may_not_exist(fault: Fault, *, exists: bool) -> None:
    async def main() -> bool:
        stage = Stage()
        stage.gateway.faults.add(fault)
        with pytest.raises(OutcomeUnknown):
            await stage.gateway.place(BTC, stage.level())
        await asyncio.sleep(8)
        assert stage.gateway.faults.is_empty
        return await stage.gateway.find(BTC, stage.level()) is not None

    assert run(main()) is exists


def test_a_late_answer_within_the_time_out_is_an_answer() -> None:
    async def main() -> int:
        stage = Stage()
        stage.gateway.faults.add(Fault(kind=FaultKind.LATE_ANSWER, delay_ms=3_000))
        before = stage.clock.now_ms()
        await stage.gateway.place(BTC, stage.level())
        return stage.clock.now_ms() - before

    assert 3_000 < run(main()) < 3_100


def test_faults_find_their_requests() -> None:
    async def main() -> None:
        stage = Stage()
        faults = stage.gateway.faults
        faults.refuse(-2019, "Margin is insufficient.", method="post", client_id="lv2", count=2)
        faults.refuse(-4000, path="=order", method="put")
        await stage.gateway.place(BTC, stage.level("tb-s-lv1-1"))
        for _ in range(2):
            with pytest.raises(RequestRefused, match="-2019"):
                await stage.gateway.place(BTC, stage.level("tb-s-lv2-1"))
        await stage.gateway.place(BTC, stage.level("tb-s-lv2-1"))
        assert not faults.is_empty
        faults.clear()
        wish = replace(stage.level("tb-s-lv1-1"), target_price=D(58_900))
        await stage.gateway.amend(BTC, wish)
        assert [call.method for call in stage.gateway.sent] == ["post"] * 4 + ["put"]

    run(main())


def test_lagging_reads_show_the_picture_of_before() -> None:
    async def main() -> None:
        stage = Stage()
        stage.world.freeze_reads(stage.clock.now_ms() + 2_000)
        await stage.gateway.place(BTC, stage.level())
        assert await stage.gateway.find(BTC, stage.level()) is None
        await asyncio.sleep(2)
        assert await stage.gateway.find(BTC, stage.level()) is not None

    run(main())


def test_a_read_without_an_answer_tells_nothing() -> None:
    async def main() -> None:
        stage = Stage()
        stage.gateway.faults.add(Fault(kind=FaultKind.LOST_REQUEST, path="positionRisk"))
        with pytest.raises(ExchangeUnavailable):
            await stage.gateway.positions(BTC)

    run(main())


# --- processes ---


def test_a_frozen_process_takes_no_step_and_goes_on_by_the_clock_of_then() -> None:
    async def main() -> list[str]:
        clock, told, process = VirtualClock(), list[str](), Process()
        start_ms = clock.now_ms()

        async def work(name: str, seconds: float) -> None:
            assert this_process() is process
            await asyncio.sleep(seconds)
            told.append(f"{name} {clock.now_ms() - start_ms}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):
                    await asyncio.Event().wait()
            told.append(f"{name} {clock.now_ms() - start_ms}")

        tasks = [process.start(work("a", 4)), process.start(work("b", 1))]
        await asyncio.sleep(1.5)
        process.freeze()
        process.call_soon(told.append, "heard")
        await asyncio.sleep(8.5)
        assert told == ["b 1000"]
        process.thaw()
        await asyncio.gather(*tasks)
        return told

    assert run(main()) == ["b 1000", "heard", "b 10000", "a 10000", "a 12000"]


def test_what_is_cancelled_before_its_turn_does_not_happen() -> None:
    async def main() -> list[str]:
        told, process = list[str](), Process()

        async def wait() -> None:
            loop = asyncio.get_running_loop()
            loop.call_later(1, told.append, "kept")
            handles.append(loop.call_later(2, told.append, "cancelled"))

        handles: list[asyncio.TimerHandle] = []
        await process.start(wait())
        process.freeze()
        process.call_soon(lambda: handles[0].cancel())
        await asyncio.sleep(5)
        assert told == []
        process.thaw()
        await asyncio.sleep(1)
        return told

    assert run(main()) == ["kept"]
