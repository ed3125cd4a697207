"""`python -m paper`: the paper exchange as a program."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NoReturn

from paper.exchange import Exchange, StateFileError, load_world, wall_ms
from paper.feeds import MANUAL, SCENARIO, FeedError, FeedPlan, Ticks, parse_plan
from paper.player import Player
from paper.replay import replay, symbols_of
from paper.rules import BUILT_IN
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
        return asyncio.run(_run(options))
    except (_UsageError, FeedError, PortError, StateFileError) as error:
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
    add("--feed", default=SCENARIO, help="scenario[:NAME], replay:PATH[,PATH…] or manual")
    add("--symbols", default="", help="symbols that the feed moves, comma separated")
    add("--from", dest="from_text", default="", help="replay from here: ISO time or ms")
    add("--to", dest="to_text", default="", help="replay up to here, exclusive")
    add("--speed", default="1", help="feed seconds per real second (default %(default)s)")
    add("--seed", type=int, default=1, help="seed of the scenario (default %(default)s)")
    add("--hold", action="store_true", help="wait for POST /paper/feed/start after one trade")
    add("--state", type=Path, help="file that keeps the exchange's state between runs")
    add("--wallet", default="10000", help="USDT of a fresh account (default %(default)s)")
    add("--one-way", action="store_true", help="start a fresh account in one-way mode")
    add("--spread-ticks", type=int, default=0, choices=(0, 1), help="bid to ask, in ticks")
    add("--over-close", default="reject", choices=("reject", "cut"), help="too large a close")
    add("--child-first", action="store_true", help="fills before ALGO_UPDATE TRIGGERED")
    add("--api-key", default=os.environ.get("PAPER_API_KEY") or DEFAULT_KEY)
    add("--api-secret", default=os.environ.get("PAPER_API_SECRET") or DEFAULT_SECRET)
    add("--quiet", action="store_true", help="only warnings")
    return parser


async def _run(options: argparse.Namespace) -> int:
    plan = parse_plan(options.feed, options.from_text, options.to_text)
    exchange = Exchange(_world(options), state_path=options.state)
    ticks = _ticks(options, plan, exchange)
    if ticks is not None:
        speed = float(_number("--speed", options.speed))
        exchange.player = Player(ticks, speed=speed, play=exchange.play, held=options.hold)
    wire = {"api_key": options.api_key, "api_secret": options.api_secret}
    try:
        async with listening(exchange, host=options.host, port=options.port, **wire) as address:
            return await _serve(exchange, address)
    finally:
        exchange.save()


async def _serve(exchange: Exchange, address: str) -> int:
    """Run the background work until a signal or an error ends it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    tasks = [asyncio.create_task(exchange.beat()), asyncio.create_task(exchange.keep_saving())]
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


def _world(options: argparse.Namespace) -> World:
    if options.state is not None:
        loaded = load_world(options.state)
        if loaded is not None:
            log.info("state loaded from %s", options.state)
            return loaded
        if not options.state.parent.is_dir():
            raise _UsageError(f"--state: {options.state.parent} is not a directory")
    return World(
        now_ms=wall_ms(),
        wallet=_number("--wallet", options.wallet),
        dual_side=not options.one_way,
        spread_ticks=options.spread_ticks,
        over_close=options.over_close,
        child_first=options.child_first,
    )


def _ticks(options: argparse.Namespace, plan: FeedPlan, exchange: Exchange) -> Ticks | None:
    rules = exchange.world.state.rules
    wanted = [name.strip().upper() for name in options.symbols.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in rules]
    if unknown:
        raise _UsageError(f"--symbols: {', '.join(unknown)} not among {', '.join(rules)}")
    if plan.kind == MANUAL:
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


def _number(name: str, text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise _UsageError(f"{name} must be a number, not {text!r}") from error
    if not value.is_finite() or value <= 0:
        raise _UsageError(f"{name} must be above zero, not {text!r}")
    return value


if __name__ == "__main__":
    sys.exit(main())
