"""The paper exchange's pure world as an `AccountGateway`, in memory and in virtual time.

Requests and answers take their time, go missing or are refused on demand; all else (which request
answers which question, what an answer means) is the same code that talks to the real exchange.
"""

import asyncio
import random
from collections.abc import Callable
from contextvars import Context

import msgspec

from core.clients.binance import BinanceGateway
from core.clients.rest_answers import RestAnswer, error_of, no_answer, rate_limited, stop_of
from core.clients.rest_call import LATEST_START_MS, RECEIVE_WINDOW_MS, Call
from core.errors import RequestTooLate
from core.ports import Clock
from paper.world import World
from simulation.faults import Fault, FaultKind, Faults

TIMEOUT_MS = 4_000
_DEFAULT_LATENCY_MS = (10, 30)
_DEFAULT_PAUSE_MS = 1_000


class SimulatedGateway(BinanceGateway):
    """`AccountGateway` over a `World`; `faults` says what goes wrong."""

    def __init__(
        self,
        world: World,
        clock: Clock,
        *,
        latency_ms: tuple[int, int] = _DEFAULT_LATENCY_MS,
        seed: int = 0,
        on_send: Callable[[Call], None] = lambda call: None,
        after_request: Callable[[], None] = lambda: None,
    ) -> None:
        """Connect to `world`.

        `on_send` is told of each call as it leaves; `after_request` is called whenever a request
        was carried out.
        """
        self.faults = Faults()
        self.sent: list[Call] = []  # every call that left, for tests to look at
        super().__init__(
            _SimulatedTransport(
                world, clock, self.faults, self.sent, latency_ms, seed, on_send, after_request
            )
        )


class _SimulatedTransport:
    def __init__(
        self,
        world: World,
        clock: Clock,
        faults: Faults,
        sent: list[Call],
        latency_ms: tuple[int, int],
        seed: int,
        on_send: Callable[[Call], None],
        after_request: Callable[[], None],
    ) -> None:
        self._world = world
        self._clock = clock
        self._faults = faults
        self._sent = sent
        self._latency_ms = latency_ms
        self._random = random.Random(seed)
        self._on_send = on_send
        self._after_request = after_request

    def now_ms(self) -> int:
        return self._clock.now_ms()

    async def sync_clock(self) -> None:
        """Do nothing: both sides live on one clock."""

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    async def send(self, call: Call) -> bytes:
        now_ms = self.now_ms()
        if call.timestamp_ms is not None and now_ms - call.timestamp_ms > LATEST_START_MS:
            raise RequestTooLate(f"{now_ms - call.timestamp_ms} ms after its timestamp")
        self._sent.append(call)
        self._on_send(call)
        answer = await self._answer(call, now_ms)
        if answer.is_success:
            return answer.body
        stop = stop_of(answer, self.now_ms())
        if stop is None:
            raise error_of(answer, changes=call.changes)
        raise rate_limited(stop, _DEFAULT_PAUSE_MS if stop.told_ms is None else stop.told_ms)

    async def _answer(self, call: Call, now_ms: int) -> RestAnswer:
        parameters = dict(call.parameters)
        if call.is_signed:
            timestamp_ms = now_ms if call.timestamp_ms is None else call.timestamp_ms
            parameters |= {"timestamp": str(timestamp_ms), "recvWindow": str(RECEIVE_WINDOW_MS)}
        fault = self._faults.take(method=call.method, path=call.path, parameters=call.parameters)
        answered: asyncio.Future[RestAnswer | None] = asyncio.get_running_loop().create_future()
        # The request goes its way by timers of the loop, not by this task: it takes effect even if
        # we do not live to see the answer.
        if fault is None or fault.kind is not FaultKind.LOST_REQUEST:
            late_ms = (
                0 if fault is None or fault.kind is not FaultKind.LATE_REQUEST else (fault.delay_ms)
            )
            self._later(late_ms, lambda: self._arrive(call, parameters, fault, answered))
        loop = asyncio.get_running_loop()
        timer = loop.call_later(TIMEOUT_MS / 1000, _run_out, answered)
        try:
            answer = await answered
        except TimeoutError:
            raise no_answer("no answer in time", changes=call.changes) from None
        finally:
            timer.cancel()
        if answer is None:
            raise no_answer("connection reset", changes=call.changes)
        return answer

    def _arrive(
        self,
        call: Call,
        parameters: dict[str, str],
        fault: Fault | None,
        answered: asyncio.Future[RestAnswer | None],
    ) -> None:
        if fault is not None and fault.kind is FaultKind.ANSWERED:
            answer: RestAnswer | None = RestAnswer(status=fault.status, body=fault.body)
        else:
            path = f"/fapi/v{call.version}/{call.path}"
            done = self._world.request(call.method.upper(), path, parameters, self.now_ms())
            answer = RestAnswer(status=done.status, body=msgspec.json.encode(done.body))
            self._after_request()
        late_ms = 0
        if fault is not None:
            if fault.kind is FaultKind.LOST_ANSWER:
                return
            if fault.kind is FaultKind.RESET:
                answer = None
            if fault.kind is FaultKind.LATE_ANSWER:
                late_ms = fault.delay_ms
        self._later(late_ms, lambda: None if answered.done() else answered.set_result(answer))

    def _later(self, extra_ms: int, act: Callable[[], None]) -> None:
        way_ms = self._random.randint(*self._latency_ms) / 2
        loop = asyncio.get_running_loop()
        # Outside of whoever sent it: what is on its way arrives although its sender is frozen.
        loop.call_later((way_ms + extra_ms) / 1000, act, context=Context())


def _run_out(answered: asyncio.Future[RestAnswer | None]) -> None:
    if not answered.done():
        answered.set_exception(TimeoutError())
