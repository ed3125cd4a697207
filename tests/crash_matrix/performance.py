"""One tale, played once on real processes, one of which may be killed at a point of it.

The feed is ours: it is held from the kill until the process is back, and then the last price is
traded once more, as any market would; or it goes on to the end of the tale while nobody is there.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import partial
from signal import SIGKILL, SIGSTOP
from typing import Any, Final

import httpx
from sqlalchemy.exc import OperationalError

from core.domain.cycle import OrderStatus, Phase, PositionSide, Request
from core.models import Cycle, Fill
from tests.crash_matrix.tales import Act, Tale
from tests.integration.e2e.dying import Order as DeathOrder
from tests.integration.e2e.programs import Program, until
from tests.integration.e2e.world import Story, World

PATIENCE_S: Final = 120.0  # of conditions that come true at once on a machine with nothing to do
_STEPS_OF_THE_FEED_S: Final = 0.1  # when it goes on
_ASK_AGAIN_S: Final = 0.5
_LAST_POINTS_S: Final = 3.0
_LONGEST_TIMER_S: Final = 75.0  # the check of every minute


class FrozenWithDatabase(Exception):
    """The process was frozen while a transaction of it held the whole database (SQLite)."""


class Mode(StrEnum):
    """What happens while the process is away."""

    HELD = "held"  # nothing
    GOES_ON = "goes on"  # the market, to the end of the tale
    BOTH = "both killed"  # nothing; the other process is killed as well
    STANDBY = "standby"  # nothing; a second monitor, there from the start, takes over
    FROZEN = "frozen"  # nothing; a second monitor takes over and the process wakes up after that


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """Where a process dies: `act` None is whichever comes to the point, which is a shell pattern.

    With `is_recovery` it was killed before, missed what happened then, and dies while it comes
    back. With `by_timer` it is one that has just started, and has until before the last act.
    """

    act: int | None
    program: str
    point: str
    number: int = 1
    is_recovery: bool = False
    by_timer: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """What a cycle came to, without what may differ: keys, ids, times, attempts."""

    figures: tuple[object, ...]
    fills: frozenset[tuple[object, ...]]
    orders: frozenset[tuple[object, ...]]
    alarms: tuple[str, ...]

    def difference(self, other: "Picture") -> str:
        """Return what is not the same, for a person."""
        found = []
        for name in ("figures", "fills", "orders", "alarms"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine == theirs:
                continue
            if isinstance(mine, frozenset):
                mine, theirs = mine - theirs, theirs - mine
            found.append(f"{name}: {_shown(mine)} instead of {_shown(theirs)}")
        return "; ".join(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One moment that a process told: what it was about, and how often that was so in the act."""

    act: int
    program: str
    points: tuple[tuple[str, int], ...]
    is_recovery: bool


@dataclass(slots=True)
class Performance:
    """One run of a tale."""

    world: World
    tale: Tale
    death: Death | None = None
    mode: Mode = Mode.HELD
    waits_for_leases: bool = False  # else a dead monitor's is let run out at once
    before_act: Callable[[int], None] = lambda act: None
    news: Sequence[Mapping[str, object]] = ()  # faults that put the exchange's news in an order
    deaths: int = 0
    story: Story = field(init=False)
    _turns: dict[int, tuple[int, bool]] = field(default_factory=dict)  # turn → act, is_recovery
    _act: int = 0
    _last_price: str = ""
    _unanswered: dict[str, Any] | None = None
    _has_gone_on: bool = False
    _frozen: Program | None = None
    _is_home: bool = False
    _is_missed: bool = False
    _cycles_before: int = 0

    def play(self) -> Picture | None:
        """Play it; return what came of it, None if the feed went on and no two ends are the same.

        Raises AssertionError where something is not as it must be.
        """
        self.story = Story(self.world, self.tale.symbol)
        self.world.wait_ready()
        self._cycles_before = len(self._cycles())
        for fault in self.news:
            self.world.control("faults", fault)
        if self.death is not None and self.death.by_timer:
            self._restart(self._program(self.death.program))
        if self.mode is Mode.STANDBY:
            self.world.other.start()
        for number, act in enumerate(self.tale.acts):
            self._act = number
            self.before_act(number)
            if self._is_recovery_in(number):
                self._miss(act)
            else:
                self._order_death(is_recovery=False)
                self._begin(act)
            self._until(partial(self._is_done, act), partial(self._shown, act))
            if number == len(self.tale.acts) - 2:
                self._wait_for_timer()
                self._until(partial(self._is_done, act), partial(self._shown, act))
            if self._has_gone_on:
                self._settle()
                break
        self._wait_for_last_points()
        self._forget_death()
        self.world.calm()
        self._send_standby_home()
        self.story.compare_books()
        return None if self._has_gone_on else self._picture()

    def _wait_for_last_points(self) -> None:
        """Let what follows the end of a cycle come, if somebody is to die in it."""
        if self.death is not None and self.death.act == self._act:
            self._wait_for_death(_LAST_POINTS_S)

    def _wait_for_timer(self) -> None:
        """Let the timer run out that somebody is to die by."""
        if self.death is not None and self.death.by_timer:
            self._wait_for_death(_LONGEST_TIMER_S)

    def _wait_for_death(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self.deaths and time.monotonic() < deadline:
            self._tend()
            time.sleep(_ASK_AGAIN_S / 10)

    def _restart(self, program: Program) -> None:
        program.stop()
        program.start()
        until(self._is_ready, self.world.health, within_s=PATIENCE_S)

    def _send_standby_home(self) -> None:
        if self._is_replaced(self.world.monitor):
            self.world.monitor.start()
            self._is_home = True
        if self.world.other.is_alive:
            self.world.other.stop()
        self._until(self._is_ready, self.world.health)

    # --- The tale ---

    def _begin(self, act: Act) -> None:
        if not self._act:
            self._trade(act.prices[0])
            self._send(self.story.alert(**self.tale.settings))
        elif act.asks:
            self._send(dict(act.asks) | {"symbol": self.tale.symbol})
        else:
            for price in act.prices:
                self._trade(price)

    def _trade(self, price: str) -> None:
        self._last_price = price
        self.story.trade(price)

    def _send(self, alert: dict[str, Any]) -> None:
        """Send an alert; one that nobody answered is sent again, as its sender would."""
        self._unanswered = alert
        try:
            answer = self.world.send_alert(alert)
        except httpx.TransportError:
            api = self.world.api
            until(lambda: not api.is_alive or api.is_frozen, lambda: "no answer, and the API lives")
            return
        if answer.status == 503 or answer.status >= 500:
            time.sleep(_ASK_AGAIN_S)
            return
        statuses = ("accepted", "duplicate") if self.deaths else ("accepted",)
        is_late = answer.status == 409 and self._has_gone_on
        assert is_late or answer.body["status"] in statuses, answer
        self._unanswered = None

    def _miss(self, act: Act) -> None:
        """Kill the process, let the act happen, and order the next death of it."""
        assert self.death is not None
        program = self._program(self.death.program)
        program.kill()
        for price in act.prices:
            self._trade(price)
        self._order_death(is_recovery=True)
        if program is self.world.monitor:
            self.world.let_leases_run_out()
        program.start()
        self._is_missed = True  # no news of it comes: the market has to trade there once more

    def _is_done(self, act: Act) -> bool:
        if self._has_gone_on:
            return True
        if self._frozen is None and self._unanswered is not None:
            self._send(self._unanswered)
            return False
        is_played = self._is_played(act)
        if is_played and self._frozen is not None:
            self._frozen.thaw()  # with a request in its hands that is many seconds old
            self._frozen = None
            return False
        return is_played and not self._is_missed

    def _is_played(self, act: Act) -> bool:
        if act.reason:
            is_begun = len(self._cycles()) > self._cycles_before
            return is_begun and self.story.cycle.phase is Phase.ENDED
        if self._is_missed and self._is_ready():
            self._is_missed = False
            self._trade(self._last_price)
        is_told = self.story.on_exchange() == _expected(act) == self.story.in_database()
        return is_told and self.story.agrees()

    # --- Death ---

    def _is_recovery_in(self, act: int) -> bool:
        return self.death is not None and self.death.is_recovery and act == self.tale.recovery

    def _order_death(self, *, is_recovery: bool) -> None:
        """Begin the act's turn; order the death if it belongs to it."""
        death = self.death
        is_ordered = death is not None and not death.is_recovery and death.act is None
        if is_ordered and self._act and not self.deaths:
            return  # it may happen in any act: ordered in the first, counted from there on
        turn = self.world.next_turn()
        self._turns[turn] = (self._act, is_recovery)
        order = DeathOrder(turn=turn)
        if death is not None and death.point and not self.deaths:
            is_here = is_recovery or death.act in (None, self._act)
            if is_here and death.is_recovery == is_recovery:
                number = SIGSTOP if self.mode is Mode.FROZEN else SIGKILL
                order = DeathOrder(
                    turn=turn,
                    program=death.program,
                    point=death.point,
                    number=death.number,
                    signal=number,
                )
        order.give(self.world.folder)

    def _forget_death(self) -> None:
        DeathOrder(turn=self.world.next_turn()).give(self.world.folder)

    def _tend(self) -> None:
        """Bring back what died."""
        for program in (self.world.api, self.world.monitor):
            if not program.is_alive and not self._is_replaced(program):
                program.wait_killed()
                self.deaths += 1
                self._died(program)
            elif self._frozen is None and program.is_frozen:
                self.deaths += 1
                self._froze(program)

    def _is_replaced(self, program: Program) -> bool:
        if self.mode is not Mode.STANDBY or program is not self.world.monitor or self._is_home:
            return False
        return self.deaths > 0 and self.death is not None and self.death.program == "monitor"

    def _died(self, program: Program) -> None:
        self._forget_death()
        programs = [program]
        if self.mode is Mode.BOTH:
            programs = [self.world.api, self.world.monitor]
            for other in programs:
                other.kill()
        if self.world.monitor in programs and not self.waits_for_leases:
            self.world.let_leases_run_out()
        for one in programs:
            if not self._is_replaced(one):
                one.start()
        if self.mode is Mode.GOES_ON:
            self._go_on()
        until(self._is_ready, self.world.health, within_s=PATIENCE_S)
        self.world.control("faults/release", {})
        self._is_missed = False
        self._trade(self._last_price)

    def _froze(self, program: Program) -> None:
        self._forget_death()
        self._frozen = program
        if program is self.world.monitor:
            try:
                self.world.let_leases_run_out()
            except OperationalError as error:
                # Frozen in the middle of another transaction. On SQLite the others then wait for
                # it to go on or to die: no takeover, and a stated limit.
                raise FrozenWithDatabase from error
            self.world.other.start()
            until(self._is_ready, self.world.health, within_s=PATIENCE_S)
        self.world.control("faults/release", {})
        self._trade(self._last_price)

    def _go_on(self) -> None:
        self._has_gone_on = True
        for act in self.tale.acts[self._act + 1 :]:
            for price in act.prices:
                self._trade(price)
                time.sleep(_STEPS_OF_THE_FEED_S)

    def _settle(self) -> None:
        """Let the cycle come to rest: at its end, or with its exits; then have it closed."""
        self._until(self._is_answered, lambda: f"no answer to {self._unanswered}")
        if len(self._cycles()) == self._cycles_before:
            assert self.story.on_exchange() == {}
            return
        self._until(self._is_at_rest, lambda: self._shown(None))
        if self.story.cycle.phase is not Phase.ENDED:
            self._send({"action": "close", "symbol": self.tale.symbol})
        self._until(
            lambda: self._is_answered() and self.story.cycle.phase is Phase.ENDED,
            lambda: self._shown(None),
        )

    def _is_answered(self) -> bool:
        if self._unanswered is not None:
            self._send(self._unanswered)
        return self._unanswered is None

    def _is_at_rest(self) -> bool:
        """Return whether it ended, or nothing is under way and what is held has its exits."""
        if self.story.cycle.phase is Phase.ENDED:
            return True
        is_quiet = all(o.request is Request.NONE for o in self.story.orders())
        resting = self.story.on_exchange()
        if not is_quiet or resting != self.story.in_database() or not self.story.agrees():
            return False
        return self.story.cycle.phase is Phase.TRADING and self._has_exits(resting)

    def _has_exits(self, resting: dict[str, tuple[Decimal, Decimal | None]]) -> bool:
        legs = self.story.legs()
        is_trailing = self.story.position(PositionSide.LONG).long_trailing_price is not None
        long = legs.get("LONG", (Decimal(0), Decimal(0)))[0]
        offered = self.story.offered("tp0")
        is_long_safe = "gd0" in resting if is_trailing else offered == long
        is_short_safe = "SHORT" not in legs or any(name.startswith("hs") for name in resting)
        return is_short_safe and (is_long_safe or not long)

    # --- What is ---

    def _program(self, name: str) -> Program:
        return self.world.api if name == "api" else self.world.monitor

    def _is_ready(self) -> bool:
        return self.world.api.is_alive and self.world.is_ready()

    def _until(self, holds: Callable[[], bool], what: Callable[[], str]) -> None:
        def tended() -> bool:
            self._tend()
            return holds()

        until(tended, what, within_s=PATIENCE_S)

    def _cycles(self) -> list[Cycle]:
        return self.world.rows(Cycle, symbol=self.tale.symbol)

    def _shown(self, act: Act | None) -> str:
        name, wanted = ("the end", {}) if act is None else (act.name, act.rests)
        return f"{name}: wanted {wanted}\n{self.story.shown()}"

    def _picture(self) -> Picture:
        cycle, rows = self.story.cycle, self.story.orders()
        assert all(row.status is OrderStatus.OVER for row in rows)
        placed = self.story.placed()  # an intent that never got there is no order
        numbered = {row.client_order_id: (row.role.value, row.order_number) for row in rows}
        fills: list[Fill] = self.world.rows(Fill, cycle_id=cycle.id)
        return Picture(
            figures=(
                cycle.close_reason,
                cycle.realised,
                cycle.commissions,
                cycle.funding,
                cycle.net_pnl,
            ),
            # In no order: a close sells one side and buys the other at the same time.
            fills=frozenset(
                (numbered[f.client_order_id], f.price, f.quantity, f.commission, f.is_maker)
                for f in fills
            ),
            orders=frozenset(
                (row.role.value, row.order_number, row.price, row.quantity, row.executed)
                for row in rows
                if row.client_order_id in placed
            ),
            alarms=tuple(self.story.alarms()),
        )

    def told(self) -> Iterator[Told]:
        """Yield what the processes told in this run, each process's in its order."""
        for program in ("api", "monitor"):
            for line in (self.world.folder / f"points-{program}.jsonl").read_text().splitlines():
                said = json.loads(line)
                if said["turn"] in self._turns and said["points"]:
                    act, is_recovery = self._turns[said["turn"]]
                    yield Told(
                        act=act,
                        program=program,
                        points=tuple((point, number) for point, number in said["points"]),
                        is_recovery=is_recovery,
                    )


def _shown(values: Iterable[object]) -> str:
    return str([tuple(map(str, v)) if isinstance(v, tuple) else str(v) for v in values])


def _expected(act: Act) -> dict[str, tuple[Decimal, Decimal | None]]:
    return {
        name: (Decimal(price), None if quantity is None else Decimal(quantity))
        for name, (price, quantity) in act.rests.items()
    }
