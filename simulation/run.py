"""One seed's history, drawn and played; one history from a file, played; a failure, made short."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import structlog
from structlog.typing import EventDict

from core.domain.settings import Policy
from simulation import events as e
from simulation.dice import Dice, beginning
from simulation.invariants import Broken
from simulation.loop import run
from simulation.player import Player
from simulation.stage import Market, Stage

CYCLES_A_SEED = 5
MOST_TRIES = 400  # of making a failure's history shorter
_UNSEEN = "task failed"  # the engine's word for a task that raised what nobody expected

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
    """Draw the history of a seed and play it."""
    history = beginning(seed, symbol=symbol)
    path = None if recorded is None else recorded(seed)

    def events(stage: Stage) -> Iterator[e.Event]:
        dice = Dice(history, stage, path=path)
        for _ in range(CYCLES_A_SEED):
            yield from dice.cycle()

    return _play(history, events)


def play_again(history: e.History) -> Outcome:
    """Play a history that was written down."""
    return _play(history, lambda stage: iter(history.events))


def shrink(failed: Outcome, *, tries: int = MOST_TRIES) -> Outcome:
    """Return the failure with as few events as `tries` replays find: the same invariant breaks."""
    size = max(1, len(failed.history.events) // 2)
    while size and tries > 0:
        start = 0
        while start < len(failed.history.events) and tries > 0:
            tries -= 1
            events = failed.history.events
            shorter = (*events[:start], *events[start + size :])
            again = play_again(_with_events(failed.history, shorter))
            if again.broken == failed.broken:
                failed = again
            else:
                start += size
        size //= 2
    return failed


def _play(history: e.History, events: Callable[[Stage], Iterator[e.Event]]) -> Outcome:
    played: list[e.Event] = []
    kept: dict[str, Any] = {}

    async def main() -> None:
        options = {name: _amount(value) for name, value in history.options.items()}
        market = Market(history.symbol, seed=history.seed, **options)
        policy = Policy(on_hedge_failed=history.on_hedge_failed)
        async with Stage(history.symbol, policy=policy, market=market, seed=history.seed) as stage:
            player = kept["player"] = Player(stage)
            for event in events(stage):
                played.append(event)
                await player.play(event)

    failure = broken = ""
    with _unseen_failures() as unseen:
        try:
            run(main())
        except Broken as error:
            failure, broken = str(error), error.name
        except Exception as error:  # noqa: BLE001 - whatever breaks a history is its outcome
            failure = broken = f"{type(error).__name__}: {error}"
        if unseen and not failure:
            failure, broken = f"a task failed unseen: {unseen[0]}", "no task fails unseen"
    player = kept.get("player")
    return Outcome(
        history=_with_events(history, tuple(played)),
        steps=0 if player is None else len(player.stage.steps),
        cycles=0 if player is None else player.cycles,
        looks=0 if player is None else player.watcher.looks,
        told=() if player is None else tuple(player.stage.told),
        failure=failure,
        broken=broken,
    )


@contextmanager
def _unseen_failures() -> Iterator[list[str]]:
    """Keep logs quiet, and note what the engine says of tasks that failed."""
    before, found = structlog.get_config(), list[str]()

    def note(logger: object, level: str, entry: EventDict) -> EventDict:
        if entry.get("event") == _UNSEEN:
            found.append(repr(entry.get("exc_info")))
        raise structlog.DropEvent

    structlog.configure(processors=[note], cache_logger_on_first_use=False)
    try:
        yield found
    finally:
        structlog.configure(**before)


def _with_events(history: e.History, events: tuple[e.Event, ...]) -> e.History:
    return e.History(
        seed=history.seed,
        symbol=history.symbol,
        on_hedge_failed=history.on_hedge_failed,
        options=history.options,
        events=events,
    )


def _amount(value: Any) -> Any:
    """Return an option of the exchange as the world takes it; amounts are written as text."""
    try:
        return Decimal(value) if isinstance(value, str) else value
    except ArithmeticError:
        return value
