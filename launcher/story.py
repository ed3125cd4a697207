"""What is told of cycles besides the monitor's own lines: the alert, the ladder, each end."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp

from core.clients.sql_store import SqlCycleStore
from core.domain.cycle import Cycle
from core.domain.ledger import needs_fills
from core.errors import StoreError
from core.money import shown
from launcher.errors import AWAY, LaunchError, told
from launcher.ladder import Ladder, ladder_of_answer, ladder_of_cycle, ladder_table
from launcher.options import PaperPlan, Plan
from launcher.sample import post_alert, sample_alert
from launcher.screen import Screen
from launcher.summary import compare, exchange_books, reconciliation, summary

LOOK_EVERY_S: Final = 0.5
LADDER_WITHIN_S: Final = 5.0
FILLS_WITHIN_S: Final = 10.0  # of the end, to be read where the stream did not tell them
SETTLED_AFTER_S: Final = 1.5  # without a change
SETTLE_WITHIN_S: Final = 15.0
ALERT_TRIES: Final = 5  # while the answer is 503, as TradingView would
ALERT_AGAIN_AFTER_S: Final = 1.0
_CONTROL: Final = aiohttp.ClientTimeout(total=10)


def now_ms() -> int:
    """Return the present in milliseconds."""
    return time.time_ns() // 1_000_000


class Story:
    """What is told of cycles besides the monitor's own lines."""

    def __init__(
        self,
        plan: Plan,
        screen: Screen,
        http: aiohttp.ClientSession,
        store: SqlCycleStore,
        *,
        began_ms: int,
    ) -> None:
        self._plan = plan
        self._screen = screen
        self._http = http
        self._store = store
        self._began_ms = began_ms
        self._summarised: set[int] = set()
        self._is_away = False

    async def begin(self) -> None:
        """Send the sample alert if there is room for it; then let a replay run."""
        paper = self._plan.paper
        if paper is None:
            exchange = self._plan.settings.exchange
            self._screen.say(f"EXCHANGE={exchange}: no sample alert is sent; Ctrl-C stops")
            return
        open_cycles = [cycle for cycle in await self._cycles() if cycle.is_open]
        of_symbol = [cycle for cycle in open_cycles if cycle.symbol == self._plan.symbol]
        for cycle in open_cycles:
            self._screen.say(f"cycle {cycle.key} {cycle.symbol} is open and goes on:")
            self._screen.show(summary(cycle, now_ms=now_ms()))
        if not of_symbol:
            await self._send_alert(paper)
        if paper.is_replay:
            await self._control("POST", "feed/start")
            self._screen.say(f"the recording runs, {paper.speed} times as fast as life")

    async def follow(self) -> None:
        """Summarise every cycle that ends, and a replay's end; for ever."""
        paper = self._plan.paper
        is_replaying = paper is not None and paper.is_replay
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for cycle in await self._cycles():
                if not cycle.is_open and cycle.cycle_id not in self._summarised:
                    await self._tell_end(cycle)
            if is_replaying and await self._has_feed_finished():
                is_replaying = False
                await self._tell_replay_ended()

    # --- The alert ---

    async def _send_alert(self, paper: PaperPlan) -> None:
        plan = self._plan
        secret = plan.settings.webhook_secret
        alert = sample_alert(
            plan.symbol,
            by_quote=paper.is_replay,
            secret=None if secret is None else secret.get_secret_value(),
        )
        alert["timenow"] = datetime.now(UTC).isoformat(timespec="seconds")  # no repetition of old
        if not await self._has_price():
            self._screen.say("no price yet, so no sample alert: POST /paper/trade, then /webhook")
            return
        self._screen.say(f"sending the sample alert for {plan.symbol} to {plan.api_url}/webhook")
        for _ in range(ALERT_TRIES):
            try:
                status, answer = await post_alert(self._http, plan.api_url, alert)
            except AWAY as error:
                raise LaunchError(
                    f"the API does not answer the sample alert: {told(error)}"
                ) from error
            if status != 503:
                break
            self._screen.say(f"not now ({answer.get('detail')}); sending it again")
            await asyncio.sleep(ALERT_AGAIN_AFTER_S)
        if answer.get("status") != "accepted":
            self._screen.say(
                f"the sample alert was not accepted ({status}): {answer.get('detail')}"
            )
            return
        await self._tell_accepted(answer)

    async def _tell_accepted(self, answer: dict[str, Any]) -> None:
        """Show the ladder as it was laid from the fill; before that is known, as planned."""
        key = answer.get("cycle")
        self._screen.say(f"alert accepted: webhook {answer['webhook_id']}, cycle {key}")
        cycle = await self._laid_cycle(key)
        ladder: Ladder | None = None if cycle is None else ladder_of_cycle(cycle)
        if ladder is not None:
            filled = f"{shown(ladder.entry_quantity)} at {shown(ladder.entry_price)}"
            self._screen.say(f"entry filled: LONG {filled}; the ladder laid from it:")
        else:
            ladder = ladder_of_answer(answer)
            self._screen.say(f"{answer['detail']}; the ladder as planned:")
        if ladder is not None:
            self._screen.show(["", *ladder_table(ladder), ""])
        for warning in answer.get("warnings", ()):
            self._screen.say(f"warning: {warning}")

    async def _laid_cycle(self, key: str | None) -> Cycle | None:
        """Return the cycle once the monitor knows the entry's fill."""
        give_up = time.monotonic() + LADDER_WITHIN_S
        while time.monotonic() < give_up:
            for cycle in await self._cycles():
                if cycle.key == key and ladder_of_cycle(cycle) is not None:
                    return cycle
            await asyncio.sleep(0.05)
        return None

    async def _has_price(self) -> bool:
        """Return whether the symbol has a price; a feed that moves by itself soon has one."""
        assert self._plan.paper is not None
        give_up = time.monotonic() + (LADDER_WITHIN_S if self._plan.paper.has_prices else 0.0)
        url = f"{self._plan.paper.url}/fapi/v1/ticker/bookTicker"
        while True:
            async with self._http.get(url, params={"symbol": self._plan.symbol}) as response:
                told = await response.json()
            if response.status == 200 and float(told.get("askPrice", 0)) > 0:
                return True
            if time.monotonic() >= give_up:
                return False
            await asyncio.sleep(0.1)

    # --- The end ---

    async def _tell_end(self, cycle: Cycle) -> None:
        cycle = await self._with_fills(cycle)
        self._summarised.add(cycle.cycle_id)
        self._screen.say(f"cycle {cycle.key} {cycle.symbol} closed: {cycle.close_reason}")
        await self._show_summary(cycle)
        if self._plan.paper is not None and not self._plan.paper.is_replay:
            self._screen.say(
                "everything goes on serving: send alerts, look at the panel; Ctrl-C stops"
            )

    async def _tell_replay_ended(self) -> None:
        cycles = await self._settled()
        self._screen.say("the recording has ended; prices stay where they are")
        for cycle in cycles:
            if cycle.is_open:
                self._screen.say(f"cycle {cycle.key} {cycle.symbol} is still open ({cycle.phase}):")
                await self._show_summary(cycle)
            elif cycle.cycle_id not in self._summarised:
                await self._tell_end(cycle)
        if not any(cycle.is_open for cycle in cycles):
            self._screen.say("no cycle is open")
        self._screen.say("everything goes on serving; Ctrl-C stops")

    async def _has_feed_finished(self) -> bool:
        try:
            feed = await self._control("GET", "feed")
        except LaunchError:
            return False  # it is asked again; if the exchange is gone, that is told elsewhere
        return bool(feed["finished"])

    async def _settled(self) -> tuple[Cycle, ...]:
        """Return the cycles once they have changed no more for a while."""
        give_up = time.monotonic() + SETTLE_WITHIN_S
        known, since = await self._cycles(), time.monotonic()
        while time.monotonic() < min(give_up, since + SETTLED_AFTER_S):
            await asyncio.sleep(0.2)
            found = await self._cycles()
            if found != known:
                known, since = found, time.monotonic()
        return known

    async def _with_fills(self, cycle: Cycle) -> Cycle:
        """Return the cycle once every execution that its orders tell of was read."""
        give_up = time.monotonic() + FILLS_WITHIN_S
        while needs_fills(cycle.orders, cycle.fills) and time.monotonic() < give_up:
            await asyncio.sleep(0.2)
            found = [c for c in await self._cycles() if c.cycle_id == cycle.cycle_id]
            cycle = found[0] if found else cycle
        return cycle

    async def _show_summary(self, cycle: Cycle) -> None:
        lines = summary(cycle, now_ms=now_ms())
        if self._plan.paper is not None:
            lines.append(await self._reconciled(cycle))
        self._screen.show(lines)

    async def _reconciled(self, cycle: Cycle) -> str:
        try:
            ledger = await self._control("GET", "ledger")
        except LaunchError as error:
            return f"not reconciled: {error}"
        others = [
            other
            for other in await self._cycles(since_ms=cycle.accepted_at_ms - 60_000)
            if other.symbol == cycle.symbol and other.cycle_id != cycle.cycle_id
        ]
        later = [o.accepted_at_ms for o in others if o.accepted_at_ms > cycle.accepted_at_ms]
        books = exchange_books(
            ledger,
            cycle,
            not_ours={fill.trade_id for other in others for fill in other.fills},
            until_ms=min(later, default=None),
        )
        return reconciliation(compare(cycle, books))

    # --- Reading ---

    async def _cycles(self, *, since_ms: int | None = None) -> tuple[Cycle, ...]:
        """Return the open cycles and those that ended since the start; none while it is away."""
        since_ms = self._began_ms if since_ms is None else since_ms
        try:
            found = await self._store.load_open(self._plan.symbols, ended_after_ms=since_ms)
        except StoreError as error:
            if not self._is_away:
                self._screen.say(f"the database cannot be read: {error}")
            self._is_away = True
            return ()
        self._is_away = False
        return found

    async def _control(self, method: str, path: str) -> dict[str, Any]:
        """Use the paper exchange's control interface."""
        assert self._plan.paper is not None
        url = f"{self._plan.paper.url}/paper/{path}"
        try:
            async with self._http.request(method, url, timeout=_CONTROL) as response:
                body: dict[str, Any] = await response.json()
        except AWAY as error:
            raise LaunchError(
                f"the paper exchange does not answer ({path}): {told(error)}"
            ) from error
        if response.status != 200:
            raise LaunchError(f"the paper exchange refuses {path}: {body}")
        return body
