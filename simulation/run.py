"""One seed's history, drawn and played; one history from a file, played; a failure, made short."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import structlog
from structlog.typing import EventDict

from core.domain.settings import Policy
from simulation import events as e
from simulation.account import Account, SharedStage
from simulation.account_dice import AccountDice, account_beginning
from simulation.account_player import AccountPlayer
from simulation.dice import Dice, beginning
from simulation.invariants import Broken
from simulation.loop import run
from simulation.player import Player
from simulation.stage import Market, Stage

CYCLES_A_SEED = 5
ACCOUNT_EVERY = 8  # seeds; the others are of one symbol, without leases or limits
MOST_TRIES = 400  # of making a failure's history shorter
# What is logged where something raised what nobody expected, and others go on.
_UNSEEN = ("task failed", "symbol stopped; its state is loaded anew", "check failed")

# Gives the recorded prices anew for each seed; None: prices are drawn.
Recorded = Callable[[int], Iterator[Decimal]] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of playing a history."""

    history: e.History  # all that happened, up to the failure if there was one
    steps: int  # of the engine
    cycles: int  # ended, their books proven
    looks: int  # moments at which all was quiet and in its place
    told: tuple[str, ...]
    failure: str = ""  # empty: every invariant held
    broken: str = ""  # which one did not


def play_seed(seed: int, *, symbol: str | None = None, recorded: Recorded = None) -> Outcome:
    """Draw the history of a seed and play it; every fourth is an account's."""
    if symbol is None and seed % ACCOUNT_EVERY == 0:
        history = account_beginning(seed)
        return _play(history, lambda stages: AccountDice(history, stages).events())
    history = beginning(seed, symbol=symbol)
    path = None if recorded is None else recorded(seed)

    def events(stages: Sequence[Stage]) -> Iterator[e.Event]:
        dice = Dice(history, stages[0], path=path)
        for _ in range(CYCLES_A_SEED):
            yield from dice.cycle()

    return _play(history, events)


def play_again(history: e.History) -> Outcome:
    """Play a history that was written down."""
    return _play(history, lambda stages: iter(history.events))


def shrink(failed: Outcome, *, tries: int = MOST_TRIES) -> Outcome:
    """Return the failure with as few events as `tries` replays find: the same invariant breaks."""
    size = max(1, len(failed.history.events) // 2)
    while size and tries > 0:
        start = 0
        while start < len(failed.history.events) and tries > 0:
            tries -= 1
            events = failed.history.events
            shorter = (*events[:start], *events[start + size :])
            again = play_again(msgspec.structs.replace(failed.history, events=shorter))
            if again.broken == failed.broken:
                failed = again
            else:
                start += size
        size //= 2
    return failed


def _play(history: e.History, events: Callable[[Sequence[Any]], Iterator[e.Event]]) -> Outcome:
    played: list[e.Event] = []
    kept: list[Player | AccountPlayer] = []

    async def main() -> None:
        async with AsyncExitStack() as stack:
            player, stages = await _scene(history, stack)
            kept.append(player)
            for event in events(stages):
                played.append(event)
                await player.play(event)

    failure = broken = ""
    with _unseen_failures() as unseen:
        try:
            run(main(), start_ms=history.start_ms)
        except Broken as error:
            failure, broken = str(error), error.name
        except Exception as error:  # noqa: BLE001 - whatever breaks a history is its outcome
            failure = broken = f"{type(error).__name__}: {error}"
        if unseen and not failure:
            failure, broken = f"a task failed unseen: {unseen[0]}", "no task fails unseen"
    player = kept[0] if kept else None
    return Outcome(
        history=msgspec.structs.replace(history, events=tuple(played)),
        steps=0 if player is None else player.steps,
        cycles=0 if player is None else player.cycles,
        looks=0 if player is None else player.looks,
        told=() if player is None else tuple(player.told),
        failure=failure,
        broken=broken,
    )


async def _scene(
    history: e.History, stack: AsyncExitStack
) -> tuple[Player | AccountPlayer, Sequence[Stage]]:
    """Open the exchange and what trades on it; return who plays on it."""
    options = {name: _amount(value) for name, value in history.options.items()}
    policy = Policy(
        on_hedge_failed=history.on_hedge_failed,
        min_liquidation_distance=history.min_liquidation_distance,
    )
    if not history.symbols:
        market = Market(history.symbol, seed=history.seed, **options)
        lone = Stage(history.symbol, policy=policy, market=market, seed=history.seed)
        await stack.enter_async_context(lone)
        return Player(lone), [lone]
    account = Account(
        *history.symbols,
        monitors=history.monitors,
        guards=history.guards,
        policy=policy,
        seed=history.seed,
        **options,
    )
    stages = [SharedStage(symbol, account) for symbol in history.symbols]
    for stage in stages:
        await stack.enter_async_context(stage)
    stack.push_async_callback(account.clear_away)  # before the stages look at the books
    return AccountPlayer(account, stages), stages


@contextmanager
def _unseen_failures() -> Iterator[list[str]]:
    """Keep logs quiet, and note what the engine says of tasks that failed."""
    before, found = structlog.get_config(), list[str]()

    def note(logger: object, level: str, entry: EventDict) -> EventDict:
        if entry.get("event") in _UNSEEN and "exc_info" in entry:
            found.append(repr(entry.get("exc_info")))
        raise structlog.DropEvent

    structlog.configure(processors=[note], cache_logger_on_first_use=False)
    try:
        yield found
    finally:
        structlog.configure(**before)


def _amount(value: Any) -> Any:
    """Return an option of the exchange as the world takes it; amounts are written as text."""
    try:
        return Decimal(value) if isinstance(value, str) else value
    except ArithmeticError:
        return value
