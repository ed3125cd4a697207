"""`python -m paper`: the paper exchange as a program."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import uvloop

from paper.exchange import Exchange, StateFileError, load_world, wall_ms
from paper.exchange_info import SymbolsFileError, read_symbols
from paper.feeds import LIVE, MANUAL, SCENARIO, FeedError, FeedPlan, Ticks, parse_plan
from paper.hub import LIFE_S
from paper.limits import Limits
from paper.live import MAX_SYMBOLS, STREAMS, LiveFeed
from paper.options import Options, changed
from paper.player import Player
from paper.replay import replay, symbols_of
from paper.rules import BUILT_IN, SymbolRules
from paper.scenarios import PATHS, scenario
from paper.server import DEFAULT_KEY, DEFAULT_SECRET, LOCAL, PortError, listening
from paper.world import World

DEFAULT_PORT = 8010

log = logging.getLogger("paper")


class _UsageError(Exception):
    """A bad value on the command line; the text is one line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Leave the usage out: a launcher shows this line to its user."""
        raise _UsageError(message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the exchange until it is told to stop; return the exit code."""
    try:
        options = _parser().parse_args(arguments)
        logging.basicConfig(
            level=logging.WARNING if options.quiet else logging.INFO,
            format="%(asctime)s %(message)s",
            datefmt="%H:%M:%S",
            stream=sys.stdout,
            force=True,
        )
        return uvloop.run(_run(options))
    except (_UsageError, FeedError, PortError, StateFileError, SymbolsFileError) as error:
        sys.stderr.write(f"paper: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m paper",
        description="A paper exchange that speaks the wire of Binance USDⓈ-M Futures.",
        epilog=f"Scenarios: {', '.join(PATHS)}. Symbols: {', '.join(BUILT_IN)}.",
    )
    add = parser.add_argument
    add("--host", default=LOCAL, help="address to listen on (default %(default)s)")
    port = os.environ.get("PAPER_PORT") or str(DEFAULT_PORT)
    add("--port", type=int, default=port, help="0 takes a free one (default %(default)s)")
    add("--feed", default=SCENARIO, help="scenario[:NAME], replay:PATH[,PATH…], live or manual")
    add("--symbols", default="", help="symbols that the feed moves, comma separated")
    add("--from", dest="from_text", default="", help="replay from here: ISO time or ms")
    add("--to", dest="to_text", default="", help="replay up to here, exclusive")
    add("--speed", default="1", help="feed seconds per real second (default %(default)s)")
    add("--seed", type=int, default=1, help="seed of the scenario (default %(default)s)")
    add("--hold", action="store_true", help="wait for POST /paper/feed/start after one trade")
    add("--state", type=Path, help="file that keeps the exchange's state between runs")
    add("--wallet", default="10000", help="USDT of a fresh account (default %(default)s)")
    add("--one-way", action="store_true", help="start a fresh account in one-way mode")
    add("--exchange-info", type=Path, help="file with an exchangeInfo answer: its symbols' rules")
    add("--brackets", type=Path, help="file with a leverageBracket answer for those symbols")
    add("--live-streams", default=STREAMS, help="whose prices --feed live takes (%(default)s)")
    add("--socket-life", default=str(LIFE_S), help="seconds until a websocket is ended")
    add("--api-key", default=os.environ.get("PAPER_API_KEY") or DEFAULT_KEY)
    add("--api-secret", default=os.environ.get("PAPER_API_SECRET") or DEFAULT_SECRET)
    add("--quiet", action="store_true", help="only warnings")
    _add_switches(parser)
    return parser


def _add_switches(parser: argparse.ArgumentParser) -> None:
    """Add what Binance leaves open or what a test wants simpler. None: by the feed."""
    group = parser.add_argument_group(
        "switches",
        "How the exchange behaves. Where a default depends on the feed, `manual` is the simple "
        "exchange of tests and the other feeds are as close to Binance as we can be.",
    )
    add, on_off = group.add_argument, ("on", "off")
    add("--book", choices=("exact", "model"), help="fills at the feed's price, or spread and depth")
    add("--depth-quote", default="20000", help="what the best modelled level holds, in USDT")
    add("--spread-ticks", type=int, choices=(0, 1, 2, 5), help="bid to ask")
    add("--maker-fill", choices=("touched", "through"), help="what fills a resting order")
    add("--stp", choices=on_off, help="self-trade prevention")
    add("--funding", choices=on_off, help="funding every interval of market time")
    add("--funding-hours", type=int, default=8, choices=(1, 2, 4, 8), help="that interval")
    add("--limits", choices=on_off, help="429 and 418 for too many requests")
    add("--retry-after", action="store_true", help="and say when to come back")
    add("--maker-fee", default="0.0002", help="(default %(default)s)")
    add("--taker-fee", default="0.0005", help="(default %(default)s)")
    add("--over-close", default="reject", choices=("reject", "cut"), help="too large a close")
    add("--child-first", action="store_true", help="fills before ALGO_UPDATE TRIGGERED")
    add("--order-first", action="store_true", help="ORDER_TRADE_UPDATE before ACCOUNT_UPDATE")
    add("--forgetful-algo-query", action="store_true", help="GET algoOrder: -2013 while it waits")
    add("--client-id-limit", type=int, default=36, choices=(35, 36), help="longest client id")
    add("--countdown-algos", action="store_true", help="countdownCancelAll ends these too")
    add("--set", action="append", default=[], metavar="NAME=VALUE", dest="more",
        help="any other option, by its name in docs/paper.md; may be given again")  # fmt: skip


def _options(options: argparse.Namespace, feed: str) -> Options:
    """Return how the exchange behaves: what the command line says, defaults for all else."""
    more = dict(text.partition("=")[::2] for text in options.more)
    try:
        return changed(Options(**_switches(options, feed)), more)
    except (ValueError, msgspec.ValidationError) as error:
        raise _UsageError(f"--set {' '.join(options.more)}: {error}") from error


def _switches(options: argparse.Namespace, feed: str) -> dict[str, Any]:
    """Return what the switches with a name of their own say."""
    simple = feed == MANUAL

    def chosen(value: str | None) -> bool:
        return not simple if value is None else value == "on"

    book = options.book or ("exact" if simple else "model")
    spread = options.spread_ticks
    return {
        "book": book,
        "depth_quote": _number("--depth-quote", options.depth_quote),
        "spread_ticks": (1 if book == "model" else 0) if spread is None else spread,
        "maker_fill": options.maker_fill or ("touched" if simple else "through"),
        "self_trade_prevention": chosen(options.stp),
        "funding_schedule": chosen(options.funding),
        "funding_interval_ms": options.funding_hours * 3600 * 1000,
        "retry_after": options.retry_after,
        "maker_fee": _number("--maker-fee", options.maker_fee, at_least=0),
        "taker_fee": _number("--taker-fee", options.taker_fee, at_least=0),
        "over_close": options.over_close,
        "child_first": options.child_first,
        "account_first": not options.order_first,
        "forgetful_algo_query": options.forgetful_algo_query,
        "client_id_limit": options.client_id_limit,
        "countdown_cancels_algos": options.countdown_algos,
    }


async def _run(options: argparse.Namespace) -> int:
    plan = parse_plan(options.feed, options.from_text, options.to_text)
    is_limited = plan.kind != MANUAL if options.limits is None else options.limits == "on"
    exchange = Exchange(
        _world(options, plan),
        state_path=options.state,
        limits=Limits(is_enforced=is_limited),
        socket_life_s=float(_number("--socket-life", options.socket_life)),
    )
    ticks = _ticks(options, plan, exchange)
    if ticks is not None:
        speed = float(_number("--speed", options.speed))
        exchange.player = Player(ticks, speed=speed, play=exchange.play, held=options.hold)
    live = _live(options, exchange) if plan.kind == LIVE else None
    wire = {"api_key": options.api_key, "api_secret": options.api_secret}
    try:
        async with listening(exchange, host=options.host, port=options.port, **wire) as address:
            exchange.save()
            return await _serve(exchange, address, live)
    finally:
        exchange.close()


async def _serve(exchange: Exchange, address: str, live: LiveFeed | None) -> int:
    """Run the background work until a signal or an error ends it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    tasks = [asyncio.create_task(exchange.beat()), asyncio.create_task(exchange.keep_saving())]
    if live is not None:
        tasks.append(asyncio.create_task(live.run()))
    if exchange.player is not None:
        tasks.append(asyncio.create_task(_play(exchange.player)))
    log.info("paper exchange ready at %s", address)
    stopping = asyncio.create_task(stop.wait())
    try:
        while not stopping.done():
            await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for ended in [one for one in tasks if one.done()]:
                tasks.remove(ended)
                ended.result()  # a failure ends the program, the end of a feed does not
    finally:
        for task in [stopping, *tasks]:
            task.cancel()
        await asyncio.gather(stopping, *tasks, return_exceptions=True)
    log.info("paper exchange stopped")
    return 0


async def _play(player: Player) -> None:
    await player.run()
    log.info("feed finished after %d trades; prices stay where they are", player.played)


def _world(options: argparse.Namespace, plan: FeedPlan) -> World:
    switches = asdict(_options(options, plan.kind))
    if options.state is not None:
        loaded = load_world(options.state)
        if loaded is not None:
            log.info("state loaded from %s", options.state)
            loaded.change_options(**switches)
            return loaded
        if not options.state.parent.is_dir():
            raise _UsageError(f"--state: {options.state.parent} is not a directory")
    symbols: Sequence[SymbolRules] = ()
    if options.exchange_info is not None:
        symbols = read_symbols(options.exchange_info, options.brackets)
    return World(
        now_ms=wall_ms(),
        symbols=symbols,
        wallet=_number("--wallet", options.wallet),
        dual_side=not options.one_way,
        **switches,
    )


def _live(options: argparse.Namespace, exchange: Exchange) -> LiveFeed:
    symbols = _wanted(options, exchange) or list(exchange.world.state.rules)
    if len(symbols) > MAX_SYMBOLS:
        raise _UsageError(f"--feed live follows at most {MAX_SYMBOLS} symbols: say which")
    return LiveFeed(exchange, symbols, streams=options.live_streams)


def _wanted(options: argparse.Namespace, exchange: Exchange) -> list[str]:
    rules = exchange.world.state.rules
    wanted = [name.strip().upper() for name in options.symbols.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in rules]
    if unknown:
        raise _UsageError(f"--symbols: {', '.join(unknown)} not among {', '.join(rules)}")
    return wanted


def _ticks(options: argparse.Namespace, plan: FeedPlan, exchange: Exchange) -> Ticks | None:
    rules, wanted = exchange.world.state.rules, _wanted(options, exchange)
    if plan.kind in (MANUAL, LIVE):
        return None
    if plan.kind == SCENARIO:
        moved = {name: rules[name] for name in wanted or rules}
        return scenario(
            plan.scenario,
            moved,
            seed=options.seed,
            look=exchange.look,
            start=exchange.known_prices(),
        )
    ticks = replay(plan, rules, wanted)
    log.info("replay of %s", ", ".join(symbols_of(plan) or wanted))
    return ticks


def _number(name: str, text: str, *, at_least: int | None = None) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise _UsageError(f"{name} must be a number, not {text!r}") from error
    if value.is_finite() and at_least is not None and value >= at_least:
        return value
    if not value.is_finite() or value <= 0:
        raise _UsageError(f"{name} must be above zero, not {text!r}")
    return value


if __name__ == "__main__":
    sys.exit(main())
