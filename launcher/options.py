"""What `make run` was asked for: variables and options, checked before anything is started."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import urlsplit

from pydantic import SecretStr
from sqlalchemy import URL

from config import Exchange, Settings
from core.schemas.webhook import parse_symbol
from launcher.errors import UsageError
from paper.feeds import LIVE, REPLAY, SCENARIO, FeedError, FeedPlan, parse_plan
from paper.replay import replay, symbols_of
from paper.rules import BUILT_IN
from paper.scenarios import PATHS

DATABASE: Final = "tradebox.sqlite3"
STATE: Final = "paper.json"
LOOPBACK: Final = ("127.0.0.1", "localhost")
_FEED_OPTIONS: Final = ("FROM", "TO")

_TELLS: Final = """\
Starts the paper exchange, the API and the monitor, sends one sample alert through the webhook if no
cycle is open, and tells what happens until Ctrl-C. Each option is also a variable, as in
make run FEED=scenario:crash PORT=8019.

files:
  DATA/tradebox.sqlite3, DATA/paper.json   database and paper exchange, carried on by the next start
  DATA/replays/SYMBOL-TIME/                both for one replay: each begins with nothing and is kept
  DATA/demo.sqlite3                        the database of EXCHANGE=demo
  DATA/operator-password                   the hash of the panel's password, made up at first

The database and the state of the paper exchange belong together: delete both or none. With
DB_CONNECTION_STR set that database is used, by a replay too, which then must hold no trades yet.
With EXCHANGE=demo or live no paper exchange is started and no alert is sent. All other variables
are in .env.example.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The words of the command line and the environment, not checked yet."""

    data: Path
    feed: str = ""
    symbol: str = ""
    from_text: str = ""
    to_text: str = ""
    speed: str = ""
    paper_port: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperPlan:
    """The paper exchange to be started."""

    port: int
    feed: str
    from_text: str
    to_text: str
    speed: str
    state: Path
    is_replay: bool
    is_fresh: bool  # there is no state yet

    @property
    def url(self) -> str:
        """Return where it will be."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def has_prices(self) -> bool:
        """Return whether the feed moves prices by itself."""
        return self.feed.partition(":")[0] in (SCENARIO, REPLAY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that will be started."""

    settings: Settings
    data: Path
    symbols: tuple[str, ...]  # watched
    symbol: str  # of the sample alert
    paper: PaperPlan | None  # None: another exchange is configured

    @property
    def api_url(self) -> str:
        """Return the API's address as seen from this machine."""
        host = self.settings.host
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self.settings.port}"

    @property
    def panel_url(self) -> str:
        """Return the panel's address."""
        return f"{self.api_url}/rust_admin"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see python run.py --help")


def parse_options(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> Options:
    """Return what was asked for; an option outranks its variable."""
    given = os.environ if environ is None else environ
    parser = _Parser(
        prog="python run.py",
        description=_TELLS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, default=Path("data"), help="folder of the files (default: data)")
    for name, text in (
        ("FEED", f"scenario[:{'|'.join(PATHS)}], replay:PATH[,PATH] or manual (default: scenario)"),
        ("SYMBOL", "symbol of the sample alert (default: the recording's, else the first watched)"),
        ("FROM", "replay from here: ISO time (UTC) or milliseconds"),
        ("TO", "replay up to here, exclusive"),
        ("SPEED", "seconds of the feed per second (default: 1)"),
        ("PAPER_PORT", "port of the paper exchange (default: that of PAPER_URL, 8010)"),
    ):
        option = "--" + name.lower().replace("_", "-")
        # `from` is no name in Python
        default, dest = given.get(name, ""), f"of_{name.lower()}"
        add(option, default=default, dest=dest, metavar=name, help=text)
    found = parser.parse_args(arguments)
    return Options(
        data=found.data,
        feed=found.of_feed,
        symbol=found.of_symbol,
        from_text=found.of_from,
        to_text=found.of_to,
        speed=found.of_speed,
        paper_port=found.of_paper_port,
    )


def make_plan(options: Options, settings: Settings, *, now: datetime) -> Plan:
    """Return what to start.

    Raises:
        UsageError: a value cannot be used; nothing was written.
    """
    symbol = _symbol(options.symbol)
    if settings.exchange is not Exchange.PAPER:
        _refuse_feed(options, settings)
        watched = _with_symbol(settings.symbols, symbol)
        return Plan(
            settings=_with_database(settings, options.data / f"{settings.exchange}.sqlite3"),
            data=options.data,
            symbols=watched,
            symbol=symbol or watched[0],
            paper=None,
        )
    plan = _feed_plan(options)
    symbols = _watched(plan, settings, symbol)
    is_replay = plan.kind == REPLAY
    folder = options.data
    if is_replay:
        folder = folder / "replays" / f"{symbols[0]}-{now.astimezone(UTC):%Y%m%d-%H%M%S}"
    state = folder / STATE
    paper = PaperPlan(
        port=_paper_port(options.paper_port, settings.paper_url),
        feed=options.feed or SCENARIO,
        from_text=options.from_text,
        to_text=options.to_text,
        speed=_speed(options.speed),
        state=state,
        is_replay=is_replay,
        is_fresh=not state.exists(),
    )
    if paper.port == settings.port:
        raise UsageError(f"PORT and PAPER_PORT are both {paper.port}; they need one each")
    return Plan(
        settings=_with_database(settings, folder / DATABASE),
        data=options.data,
        symbols=symbols,
        symbol=symbol or symbols[0],
        paper=paper,
    )


def _symbol(text: str) -> str:
    if not text:
        return ""
    try:
        return parse_symbol(text)
    except ValueError as error:
        raise UsageError(f"SYMBOL {text!r}: {error}") from error


def _with_symbol(symbols: tuple[str, ...], symbol: str) -> tuple[str, ...]:
    return symbols if not symbol or symbol in symbols else (symbol, *symbols)


def _refuse_feed(options: Options, settings: Settings) -> None:
    given = {
        "FEED": options.feed,
        "FROM": options.from_text,
        "TO": options.to_text,
        "SPEED": options.speed,
        "PAPER_PORT": options.paper_port,
    }
    named = [name for name, value in given.items() if value]
    if named:
        raise UsageError(f"{', '.join(named)} only with EXCHANGE=paper, not {settings.exchange}")


def _feed_plan(options: Options) -> FeedPlan:
    try:
        plan = parse_plan(options.feed or SCENARIO, options.from_text, options.to_text)
    except FeedError as error:
        raise UsageError(f"FEED: {error}" if "feed" in str(error) else str(error)) from error
    if plan.kind == LIVE:
        # Today's prices in the account that the demo left at other prices would be nonsense.
        raise UsageError("FEED: 'live' is not for this demo; see python -m paper --help")
    if plan.kind == SCENARIO and plan.scenario not in PATHS:
        raise UsageError(f"FEED: unknown scenario {plan.scenario!r}: {', '.join(PATHS)}")
    if plan.kind != REPLAY and (options.from_text or options.to_text):
        raise UsageError("FROM and TO only with FEED=replay:PATH")
    return plan


def _watched(plan: FeedPlan, settings: Settings, symbol: str) -> tuple[str, ...]:
    """Return the symbols to watch: a recording's own, else those configured."""
    if plan.kind != REPLAY:
        symbols = _with_symbol(settings.symbols, symbol)
        unknown = [name for name in symbols if name not in BUILT_IN]
        if unknown:
            known = ", ".join(BUILT_IN)
            raise UsageError(f"{', '.join(unknown)}: not among the paper exchange's {known}")
        return symbols
    recorded = symbols_of(plan)
    if symbol and recorded and symbol not in recorded:
        raise UsageError(f"SYMBOL {symbol} is not in the recording of {', '.join(recorded)}")
    symbols = _with_symbol(tuple(recorded), symbol)
    try:
        replay(plan, BUILT_IN, symbols)  # reads up to the first trade
    except FeedError as error:
        raise UsageError(f"FEED: {error}") from error
    return (symbol, *(name for name in symbols if name != symbol)) if symbol else symbols


def _speed(text: str) -> str:
    try:
        speed = Decimal(text or "1")
    except InvalidOperation as error:
        raise UsageError(f"SPEED must be a number, not {text!r}") from error
    if not speed.is_finite() or speed <= 0:
        raise UsageError(f"SPEED must be above zero, not {text!r}")
    return f"{speed:f}"


def _paper_port(text: str, paper_url: str) -> int:
    parts = urlsplit(paper_url)
    if parts.hostname not in LOOPBACK:
        raise UsageError(f"PAPER_URL {paper_url} is not on this machine; leave it out")
    if not text:
        return parts.port or 80
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise UsageError(f"PAPER_PORT must be a port from 1 to 65535, not {text!r}")
    return int(text)


def _with_database(settings: Settings, path: Path) -> Settings:
    """Return the settings with a database of their own, where none is configured."""
    if settings.db_connection_str is not None:
        return settings
    url = URL.create("sqlite", database=str(path)).render_as_string()
    return settings.model_copy(update={"db_connection_str": SecretStr(url)})
