"""A paper exchange, the API and a monitor as real processes, and the two books to compare.

`World` is the machinery, `Story` one symbol in it: a story sends alerts, moves prices, waits for
what should rest, and at the end compares our database with the exchange's own ledger.
"""

import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from sqlalchemy import Engine, text
from sqlmodel import Session, col, select

from core.clients.db_sync import READ_ONLY, make_engine
from core.domain.cycle import CLIENT_ID_PREFIX, OrderStatus, PositionSide, Request
from core.models import Alarm, BinancePosition, Cycle, Fill, MonitorLease, Order, WebHook
from tests.integration.e2e.dying import CLOCK_FILE, write_whole
from tests.integration.e2e.dying import Order as DeathOrder
from tests.integration.e2e.programs import Program, until
from tests.ports import free_port

D = Decimal
Resting = dict[str, tuple[Decimal, Decimal | None]]  # name → price or trigger, total or None
_DYING = "tests/integration/e2e/dying.py"
PLENTY = "10000000"  # of a trade: more than any order takes
# Of 2400 a minute; 30 % of it are kept for orders that close. Cycles follow each other faster here
# than in any market, so a story begins when there is room for it.
WEIGHT_FOR_A_STORY = 1_300


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sender of an alert gets."""

    status: int
    body: dict[str, Any]


class World:
    """The three processes and their database."""

    def __init__(
        self,
        folder: Path,
        database_url: str,
        prices: Mapping[str, str],
        *,
        mortal: bool = False,
        paper_options: Sequence[str] = (),
        kind: type[Program] = Program,
        **settings: str,
    ) -> None:
        """Prepare; with `mortal`, API and monitor can be made to kill themselves at a point.

        `prices`: the symbols that are watched, and where they stand at first. `kind`: what API and
        monitors are started as. `settings`: variables of the environment beside those that make it
        a world of its own. `paper_options`: more words of the exchange's command line.
        """
        self.folder = folder
        self._prices = dict(prices)
        self._turn = 0
        self.engine: Engine = make_engine(database_url).execution_options(**{READ_ONLY: True})
        paper_port, api_port, other_port = free_port(), free_port(), free_port()
        self.paper_url = f"http://127.0.0.1:{paper_port}"
        self.api_url = f"http://127.0.0.1:{api_port}"
        self.other_api_url = f"http://127.0.0.1:{other_port}"
        empty = folder / "empty.env"
        empty.touch()
        environment = {
            "EXCHANGE": "paper",
            "PAPER_URL": self.paper_url,
            "DB_CONNECTION_STR": database_url,
            "PORT": str(api_port),
            "SYMBOLS": ",".join(prices),
            "TRADEBOX_ENV_FILE": str(empty),
            "RATE_SHARE": "1",
            **settings,
        }
        names = ("api", "monitor", "other")
        wrapped = {name: (_DYING, str(folder), name) if mortal else () for name in names}
        paper = ("-m", "paper", "--feed", "manual", "--port", str(paper_port), *paper_options)
        watch = ("ws_monitor_async.py", "--symbols", ",".join(prices))
        self.paper = Program("paper", paper, environment, folder / "paper.log")
        serve, follow = (*wrapped["api"], "main.py"), (*wrapped["monitor"], *watch)
        self.api = kind("api", serve, environment, folder / "api.log")
        self.monitor = kind("monitor", follow, environment, folder / "monitor.log")
        follow_too = (*wrapped["other"], *watch)
        self.other = kind("other monitor", follow_too, environment, folder / "other.log")
        beside = environment | {"PORT": str(other_port)}
        self.other_api = Program("other api", ("main.py",), beside, folder / "other_api.log")
        self.http = httpx.Client(timeout=20, trust_env=False)

    @property
    def programs(self) -> tuple[Program, ...]:
        """Return all of them, the exchange first."""
        return self.paper, self.api, self.monitor, self.other, self.other_api

    # --- life and death ---

    def start(self) -> None:
        """Start everything and return when the symbols are watched."""
        for program in (self.paper, self.api, self.monitor):
            program.start()
        until(lambda: "ready at" in self.paper.text, lambda: self.paper.text)
        for symbol, price in self._prices.items():
            # A symbol without a price is silent, and silence is taken for a dead stream.
            self.control("trade", {"symbol": symbol, "price": price})
        self.wait_ready()

    def is_ready(self) -> bool:
        """Return whether alerts would be taken for every symbol now."""
        self.paper.require_alive()
        if not self._is_answering():
            return False
        watched = self.http.get(f"{self.api_url}/health/ready").json()["watched"]
        return all(watched.values())

    def wait_ready(self) -> None:
        """Return when alerts would be taken for every symbol."""
        until(self.is_ready, self.health)

    def start_monitor(self) -> None:
        """Start the monitor and return when it watches, a dead one's lease having run out."""
        self.wait_for_room()
        self.let_leases_run_out()
        self.monitor.start()
        self.wait_ready()

    def let_leases_run_out(self) -> None:
        """Let fifteen seconds pass: nothing else of interest would happen in them."""
        with Session(self.engine.execution_options(**{READ_ONLY: False})) as session:
            for lease in session.exec(select(MonitorLease)):
                lease.expires_at = datetime(2020, 1, 1, tzinfo=UTC)
                lease.last_check_ok = False
                session.add(lease)
            session.commit()

    @contextmanager
    def database_held(self) -> Iterator[None]:
        """Let nobody else write meanwhile: no decision can be saved."""
        with self.engine.execution_options(**{READ_ONLY: False}).begin() as holder:
            if not self._is_sqlite:  # where BEGIN IMMEDIATE holds everything
                holder.execute(text("LOCK TABLE cycle IN EXCLUSIVE MODE"))
            yield

    @property
    def _is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    def start_api(self) -> None:
        """Start the API and return when it answers."""
        self.api.start()
        until(self._is_answering, self.health)

    def next_turn(self) -> int:
        """Return a number for the programs to count their points under."""
        self._turn += 1
        return self._turn

    def kill_at(self, point: str, *, number: signal.Signals = signal.SIGKILL) -> None:
        """Order the death (or the freezing) of whichever process next reaches a point.

        `point` is a pattern, e.g. "before POST order tp0-1": its intent is committed, nothing was
        sent; "after …": the answer is there, and nobody has written it down. See `dying`.
        """
        DeathOrder(turn=self.next_turn(), point=point, signal=number).give(self.folder)

    def step_clock(self, seconds: int) -> None:
        """Set the machine's clock this far off, for mortal programs: they see it at once."""
        write_whole(self.folder / CLOCK_FILE, str(seconds))

    def close(self) -> None:
        """End everything."""
        for program in self.programs:
            program.kill()
        self.http.close()
        self.engine.dispose()

    def _is_answering(self) -> bool:
        self.api.require_alive()
        try:
            return self.http.get(f"{self.api_url}/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    def health(self) -> str:
        """Return what the API says of itself and of the monitors."""
        try:
            return self.http.get(f"{self.api_url}/health/ready").text
        except httpx.TransportError as error:
            return repr(error)

    # --- the exchange's side ---

    def wait_for_room(self) -> None:
        """Wait until the request weight of this minute has room for a story."""

        until(self.has_room, lambda: f"{self._used_weight()} used", within_s=65)

    def has_room(self) -> bool:
        """Return whether the request weight of this minute has room for a story."""
        return self._used_weight() < WEIGHT_FOR_A_STORY

    def _used_weight(self) -> int:
        answer = self.http.get(f"{self.paper_url}/fapi/v1/time")
        return int(answer.headers["X-MBX-USED-WEIGHT-1M"])

    def control(self, path: str, body: object | None = None) -> Any:
        """Use the paper exchange's control interface."""
        url = f"{self.paper_url}/paper/{path}"
        answer = self.http.get(url) if body is None else self.http.post(url, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def fault(self, action: str, **details: object) -> None:
        """Order a fault of the exchange."""
        self.control("faults", {"action": action, **details})

    def calm(self) -> None:
        """Forget faults that did not happen yet, and let everything through that is held."""
        self.http.delete(f"{self.paper_url}/paper/faults")
        self.control("streams", {"action": "unmute"})

    # --- our side ---

    def send_alert(self, payload: Mapping[str, Any] | str, *, api_url: str = "") -> Answer:
        """Send an alert the way TradingView does, to the API or to another one."""
        body = payload if isinstance(payload, str) else json.dumps(payload)
        answer = self.http.post(f"{api_url or self.api_url}/webhook", content=body)
        return Answer(answer.status_code, answer.json())

    def rows(self, model: type[Any], **equal: object) -> list[Any]:
        """Return rows of a table, oldest first."""
        wanted = [col(getattr(model, name)) == value for name, value in equal.items()]
        with Session(self.engine, expire_on_commit=False) as session:
            return list(session.exec(select(model).where(*wanted).order_by(col(model.id))))


class Story:
    """One symbol, from its first alert to the comparison of the books."""

    def __init__(self, world: World, symbol: str) -> None:
        world.wait_for_room()
        self.world = world
        self.symbol = symbol

    # --- what happens ---

    def trade(self, *prices: str, quantity: str = PLENTY) -> None:
        """Let the market trade at these prices, one right after the other."""
        trades = [{"symbol": self.symbol, "price": p, "quantity": quantity} for p in prices]
        self.world.control("trade", trades)

    def alert(self, **fields: Any) -> dict[str, Any]:
        """Return an alert for this symbol with these settings; `open_` fields go under `open`."""
        opening = {n.removeprefix("open_"): v for n, v in fields.items() if n.startswith("open_")}
        settings = {n: v for n, v in fields.items() if not n.startswith("open_")}
        return {
            "id": uuid4().hex,  # the same words again are another alert
            "name": "story",
            "symbol": f"{self.symbol}.P",
            "side": "buy",
            "positionSide": "long",
            "open": opening,
            "settings": settings,
        }

    def enter(self, price: str, alert: Mapping[str, Any]) -> dict[str, Any]:
        """Let the price be there, send the alert; it must be accepted. Return the answer."""
        self.world.wait_ready()
        self.trade(price)
        answer = self.world.send_alert(alert)
        assert (answer.status, answer.body["status"]) == (200, "accepted"), answer
        return answer.body

    def by_hand(
        self, side: str, position_side: str, quantity: str, *, price: str | None = None
    ) -> str:
        """Let a person trade in the exchange's own app, at market or at a price.

        Return the order's client id.
        """
        what = {"side": side, "position_side": position_side, "quantity": quantity}
        order = {"action": "order", "symbol": self.symbol, "price": price, **what}
        name: str = self.world.control("outside", order)["clientOrderId"]
        return name

    # --- what is ---

    @property
    def cycle(self) -> Cycle:
        """Return the symbol's newest cycle as the database has it."""
        cycles: list[Cycle] = self.world.rows(Cycle, symbol=self.symbol)
        assert cycles, f"{self.symbol} has no cycle"
        return cycles[-1]

    def orders(self) -> list[Order]:
        """Return the rows of the newest cycle's orders."""
        return self.world.rows(Order, cycle_id=self.cycle.id)

    def position(self, side: PositionSide) -> BinancePosition:
        """Return the row of one side of the newest cycle."""
        found = self.world.rows(BinancePosition, cycle_id=self.cycle.id, position_side=side)
        assert len(found) == 1
        row: BinancePosition = found[0]
        return row

    def alarms(self) -> list[str]:
        """Return the texts of the newest cycle's alarms."""
        return [alarm.text for alarm in self.world.rows(Alarm, cycle_id=self.cycle.id)]

    def on_exchange(self) -> Resting:
        """Return what rests on the exchange, by name: `lv1`, `tp0`; a person's by its whole id."""
        state = self.world.control("state")["snapshot"]["state"]
        plain = {
            _name(o["client_id"]): (D(o["price"]), D(o["quantity"]))
            for o in state["orders"].values()
            if o["symbol"] == self.symbol and o["status"] in ("NEW", "PARTIALLY_FILLED")
        }
        conditional = {
            _name(o["client_id"]): (
                D(o["trigger"]),
                None if o["close_position"] else D(o["quantity"]),
            )
            for o in state["algos"].values()
            if o["symbol"] == self.symbol and o["status"] == "NEW"
        }
        return plain | conditional

    def in_database(self) -> Resting:
        """Return what our rows say rests, requests under way shown as such."""
        return {
            _name(o.client_order_id)
            + ("" if o.request is Request.NONE else f" ({o.request.value} under way)"): (
                D(0) if o.price is None else o.price,
                o.quantity,
            )
            for o in self.orders()
            if o.status is OrderStatus.OPEN or o.request is not Request.NONE
        }

    def placed(self) -> set[str]:
        """Return the client ids of all orders that the exchange ever had."""
        state = self.world.control("state")["snapshot"]["state"]
        return {o["client_id"] for kind in ("orders", "algos") for o in state[kind].values()}

    def amendments(self, name: str) -> int:
        """Return how often the exchange amended an order."""
        state = self.world.control("state")["snapshot"]["state"]
        mine = f"{CLIENT_ID_PREFIX}{self.cycle.key}-{name}-"
        return sum(
            o["amendments"] for o in state["orders"].values() if o["client_id"].startswith(mine)
        )

    def agrees(self) -> bool:
        """Return whether our rows hold what the exchange holds, at the same entries."""
        return self.legs() == self._legs_of_rows()

    def offered(self, name: str) -> Decimal:
        """Return what is left of our resting order of this name."""
        state = self.world.control("state")["snapshot"]["state"]
        return sum(
            (
                D(o["quantity"]) - D(o["executed"])
                for o in state["orders"].values()
                if o["symbol"] == self.symbol
                and o["status"] in ("NEW", "PARTIALLY_FILLED")
                and _name(o["client_id"]) == name
            ),
            D(0),
        )

    # --- what is waited for ---

    def until_resting(self, **wanted: tuple[str, str | None]) -> None:
        """Wait until exactly this rests, by the exchange and by our rows, positions included."""
        expected: Resting = {
            name: (D(price), None if quantity is None else D(quantity))
            for name, (price, quantity) in wanted.items()
        }

        def is_so() -> bool:
            return self.on_exchange() == expected == self.in_database() and self.agrees()

        until(is_so, lambda: f"wanted {expected}\n{self.shown()}")

    def until_ended(self, reason: str, *, alarms: Sequence[str] = ()) -> Cycle:
        """Wait for the end; then both books must be the same. Return the cycle's row.

        `alarms`: a word of every alarm that belongs to the story, in order; no other may be there.
        """
        until(
            lambda: self.cycle.ended_at is not None,
            self.shown,
        )
        raised = self.alarms()
        assert len(raised) == len(alarms), raised
        for word, said in zip(alarms, raised, strict=True):
            assert word in said, raised
        cycle = self.cycle
        assert cycle.close_reason == reason
        self.compare_books()
        return cycle

    # --- the comparison ---

    def compare_books(self) -> None:
        """Prove that the ended cycle and the exchange's own ledger say the same, to the digit."""
        ledger = self.world.control("ledger")  # the exchange proves that it adds up by itself
        cycle = self.cycle
        opened_ms = int(cycle.opened_at.timestamp() * 1000)
        theirs = [
            f
            for f in ledger["fills"]
            if f["symbol"] == self.symbol and f["time_ms"] >= opened_ms - 1000
        ]
        self._compare(theirs, ledger["orders"])
        of_symbol = [
            e
            for e in ledger["entries"]
            if e["symbol"] == self.symbol and e["time_ms"] >= opened_ms - 1000
        ]
        earned = sum(D(e["amount"]) * (1 if e["target"] == "wallet" else -1) for e in of_symbol)
        assert cycle.net_pnl == earned

    def _compare(self, theirs: list[dict[str, Any]], reported: list[dict[str, Any]]) -> None:
        """Compare the newest cycle with the fills of the exchange that belong to it."""
        self._compare_fills(theirs)
        self._compare_orders(reported)
        assert self.on_exchange() == {}
        assert self.legs() == self._legs_of_rows() == {}
        cycle = self.cycle
        assert cycle.realised == sum(D(f["realised"]) for f in theirs)
        assert cycle.commissions == sum(D(f["commission"]) for f in theirs)

    def _compare_fills(self, theirs: list[dict[str, Any]]) -> None:
        ours: list[Fill] = self.world.rows(Fill, cycle_id=self.cycle.id)
        assert {
            f.trade_id: (
                f.client_order_id,
                f.side.value,
                f.position_side.value,
                f.price,
                f.quantity,
                f.commission,
                f.is_maker,
                f.is_adjustment,
            )
            for f in ours
        } == {
            f["trade_id"]: (
                f["client_id"],
                f["side"],
                f["position_side"],
                D(f["price"]),
                D(f["quantity"]),
                D(f["commission"]),
                f["maker"],
                False,
            )
            for f in theirs
        }

    def _compare_orders(self, reported: list[dict[str, Any]]) -> None:
        """Every order that the exchange ever had is ours to the digit, and none twice."""
        prefix = f"{CLIENT_ID_PREFIX}{self.cycle.key}-"
        theirs = [o for o in reported if o["clientOrderId"].startswith(prefix)]
        assert len({o["clientOrderId"] for o in theirs}) == len(theirs), "an order was doubled"
        rows = self.orders()
        assert all(o.status is OrderStatus.OVER and o.request is Request.NONE for o in rows), rows
        ours = {o.client_order_id: o.executed for o in rows}
        for order in theirs:
            assert ours[order["clientOrderId"]] == D(order["executed"])
        known = {o["clientOrderId"] for o in reported}
        unseen = {name for name, executed in ours.items() if name not in known and executed}
        assert not unseen, f"executed by our rows, unknown to the exchange: {unseen}"

    def legs(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Return the sides that the exchange holds: quantity, and entry to the 8th decimal."""
        legs = self.world.control("ledger")["legs"]
        return {
            leg["positionSide"]: (abs(D(leg["amount"])), round(D(leg["entry"]), 8))
            for leg in legs
            if leg["symbol"] == self.symbol and D(leg["amount"])
        }

    def _legs_of_rows(self) -> dict[str, tuple[Decimal, Decimal]]:
        rows = [self.position(side) for side in PositionSide]
        return {
            row.position_side.value: (row.quantity, round(row.entry_price, 8))
            for row in rows
            if row.quantity
        }

    def shown(self) -> str:
        """Return both sides as they are now, for a person."""
        return (
            f"exchange {self.on_exchange()} {self.legs()}\n"
            f"rows {self.in_database()} {self._legs_of_rows()}\n{self.alarms()}"
        )


Standing = tuple[int, int, int]


def standing(world: World) -> Standing:
    """Return how many orders and fills the exchange has seen, and how many cycles there are."""
    ledger = world.control("ledger")
    state = world.control("state")["snapshot"]["state"]
    orders = len(ledger["orders"]) + len(state["algos"])
    return orders, len(ledger["fills"]), len(world.rows(Cycle))


def last_webhook(world: World) -> WebHook:
    """Return the newest alert's row."""
    row: WebHook = world.rows(WebHook)[-1]
    return row


@contextmanager
def running(world: World) -> Iterator[World]:
    """Run a world; whatever happens in it, no process of it stays."""
    try:
        try:
            world.start()
        except AssertionError as error:
            logs = "\n".join(f"{p.name}:\n{p.text[-4000:]}" for p in world.programs)
            raise AssertionError(f"{error}\n{logs}") from error
        yield world
    finally:
        world.close()


def _name(client_id: str) -> str:
    """Return what an order is called in a story: `tb-<key>-lv1-1` is `lv1`."""
    return client_id.split("-")[2] if client_id.startswith(CLIENT_ID_PREFIX) else client_id
