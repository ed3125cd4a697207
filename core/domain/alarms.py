"""What a person should look at: the kinds of alarms, what each means, and what to do about it.

A cycle remembers every cause that it was told of, by `Alarm.key`, so that the same news raises
nothing twice. People see one alarm for each kind and cycle; further causes of a kind are counted in
it until somebody has settled it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Severity(StrEnum):
    """How soon a person should look."""

    WARNING = "warning"  # the rules go on; look when you can
    CRITICAL = "critical"  # something is not as it should be, or money is at risk: look now


class AlarmKind(StrEnum):
    """Every alarm that a cycle may raise, and those of a symbol as such."""

    WITHDRAWN = "withdrawn"
    NO_GRID = "no-grid"
    MARGIN = "margin"
    HEDGE_REFUSED = "hedge-refused"
    HEDGE_WATCHED = "hedge-watched"
    HEDGE_FAILED = "hedge-failed"
    REFUSED = "refused"
    ENDED = "ended"
    ACCOUNT_REFUSED = "account-refused"
    NEAR_LIQUIDATION = "near-liquidation"
    FOREIGN = "foreign"
    CANCELLED = "cancelled"
    OUTSIDE = "outside"
    OUTSIDE_SHORT = "outside-short"
    SHORT_CLOSED = "short-closed"
    SHORT_WITHOUT_STOP = "short-without-stop"
    MISSING = "missing"
    FORGOTTEN = "forgotten"
    LATE = "late"
    LEFT_OVER = "left-over"
    SYMBOL_STOPPED = "symbol-stopped"
    RESTORED = "restored"
    OUTLIVED = "outlived"
    UNCLAIMED = "unclaimed"
    UNCHECKED = "unchecked"
    UNWATCHED = "unwatched"
    UNLISTED = "unlisted"
    FILLS_DIFFER = "fills-differ"
    POSITION_DIFFERS = "position-differs"
    ORDERS_DIFFER = "orders-differ"
    LEDGER_DIFFERS = "ledger-differs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """What an alarm of a kind means for whoever reads it."""

    severity: Severity
    cause: str
    action: str
    outlives_cycle: bool = False  # False: the end of the cycle settles it


GUIDES: Final[dict[AlarmKind, Guide]] = {
    AlarmKind.WITHDRAWN: Guide(
        severity=Severity.WARNING,
        cause="A level does not fit after the fill, or was refused or ended for good.",
        action="Nothing has to be done: the ladder goes on without it. If it happens often, change "
        "amount, mg_long or deposit in the alert.",
    ),
    AlarmKind.NO_GRID: Guide(
        severity=Severity.CRITICAL,
        cause="The ladder's numbers are too large to be calculated with.",
        action="The entry runs without levels: check the alert's numbers, and close the cycle if "
        "it is not meant so.",
    ),
    AlarmKind.MARGIN: Guide(
        severity=Severity.WARNING,
        cause="The exchange refused a level for want of margin, or for a limit on orders.",
        action="Free margin or add funds; the level is tried again every 30 s and after each fill. "
        "operate.py cancel gives it up.",
    ),
    AlarmKind.HEDGE_REFUSED: Guide(
        severity=Severity.WARNING,
        cause="The exchange refused the hedge's order as it was.",
        action="Nothing yet: the symbol's rules are read and it is tried once more. hedge-failed "
        "follows if that fails too.",
    ),
    AlarmKind.HEDGE_WATCHED: Guide(
        severity=Severity.CRITICAL,
        cause="The hedge's stop order may not rest on the exchange.",
        action="Keep the monitor running: it sends the hedge by MARKET at its trigger, and without "
        "it nobody does. Freeing margin or conditional orders helps the next hedge.",
    ),
    AlarmKind.HEDGE_FAILED: Guide(
        severity=Severity.CRITICAL,
        cause="A hedge was asked for and none can be had (any more).",
        action="The LONG is unhedged: watch it, or operate.py close. After adding funds, "
        "operate.py allow-hedges lets the hedge be tried again.",
    ),
    AlarmKind.REFUSED: Guide(
        severity=Severity.CRITICAL,
        cause="The exchange refuses a protecting or a closing order, or a cancel.",
        action="It is tried again without end. Look at the code it gives: lack of margin needs "
        "funds, a symbol out of trading needs a close by hand in the exchange's app.",
    ),
    AlarmKind.ENDED: Guide(
        severity=Severity.CRITICAL,
        cause="The exchange ended a protecting or a closing order three times in a row.",
        action="It is placed again and again. Look at the symbol in the exchange's app, and close "
        "the position there if the market takes no orders.",
    ),
    AlarmKind.ACCOUNT_REFUSED: Guide(
        severity=Severity.CRITICAL,
        cause="The exchange refuses the account itself: key, signature, permission or mode.",
        action="Check the API key, its permissions and address list, and Hedge Mode. No level and "
        "no hedge is placed until a read succeeds; protecting orders go on being tried.",
    ),
    AlarmKind.NEAR_LIQUIDATION: Guide(
        severity=Severity.CRITICAL,
        cause="The exchange's liquidation price is nearer than MIN_LIQUIDATION_DISTANCE.",
        action="Add funds, or close what you can spare (operate.py close). The levels that were "
        "not filled are withdrawn for good; the exits and the hedge go on.",
    ),
    AlarmKind.FOREIGN: Guide(
        severity=Severity.WARNING,
        cause="An order or an execution on the symbol is not from Tradebox.",
        action="If it was you: nothing; it is counted. If not: change the API keys, and look who "
        "else trades this account.",
        outlives_cycle=True,
    ),
    AlarmKind.CANCELLED: Guide(
        severity=Severity.WARNING,
        cause="Somebody cancelled an order of the cycle.",
        action="Exits are placed again by themselves, a level or a hedge is not. If it was not "
        "you, look who else trades this account.",
    ),
    AlarmKind.OUTSIDE: Guide(
        severity=Severity.CRITICAL,
        cause="The exchange reports another position than the executions make.",
        action="The exchange's word was taken. Compare the position in its app; if somebody else "
        "trades this symbol, let him stop while a cycle is open.",
        outlives_cycle=True,
    ),
    AlarmKind.OUTSIDE_SHORT: Guide(
        severity=Severity.CRITICAL,
        cause="A SHORT was opened that is not a hedge of the cycle.",
        action="It gets the cycle's stop-loss where the alert has sl_short. Close it by "
        "operate.py close-short if it is not meant.",
    ),
    AlarmKind.SHORT_CLOSED: Guide(
        severity=Severity.WARNING,
        cause="The SHORT was closed by somebody else, by auto-deleveraging or liquidation.",
        action="No hedge is placed any more: operate.py allow-hedges lets the next one be armed.",
    ),
    AlarmKind.SHORT_WITHOUT_STOP: Guide(
        severity=Severity.CRITICAL,
        cause="A SHORT is open and the alert gave no sl_short.",
        action="Place a stop in the exchange's app, or operate.py close-short.",
    ),
    AlarmKind.MISSING: Guide(
        severity=Severity.CRITICAL,
        cause="An order cannot be found on the exchange, which cannot have forgotten it yet.",
        action="Look for it in the exchange's app. If it is certainly gone, operate.py "
        "forget-missing takes it as over.",
    ),
    AlarmKind.FORGOTTEN: Guide(
        severity=Severity.WARNING,
        cause="No read of the exchange shows an old order; it was taken as over.",
        action="Compare the position and the open orders in the exchange's app once.",
        outlives_cycle=True,
    ),
    AlarmKind.LATE: Guide(
        severity=Severity.CRITICAL,
        cause="An order of a cycle that had ended came to life.",
        action="What it opened is being closed. See that the symbol is flat in the exchange's app.",
        outlives_cycle=True,
    ),
    AlarmKind.LEFT_OVER: Guide(
        severity=Severity.WARNING,
        cause="The cycle ended with less than one step of the position left.",
        action="Too little for an order: close it in the exchange's app (close position), or a new "
        "alert on the symbol is refused.",
        outlives_cycle=True,
    ),
    AlarmKind.SYMBOL_STOPPED: Guide(
        severity=Severity.CRITICAL,
        cause="The monitor met something unexpected on the symbol and began it anew.",
        action="It is loaded again and goes on by itself; the orders on the exchange stay. If it "
        "comes again and again, look after the position yourself and report the log's text.",
        outlives_cycle=True,
    ),
    AlarmKind.RESTORED: Guide(
        severity=Severity.CRITICAL,
        cause="The exchange has orders of the cycle that the database does not know: a backup was "
        "restored, or a disk lost writes.",
        action="What the exchange shows was taken in, and the rules go on from there. Compare the "
        "cycle with the exchange's app once; what people asked for since the backup (pause, "
        "hands-off) is forgotten and has to be asked for again.",
        outlives_cycle=True,
    ),
    AlarmKind.OUTLIVED: Guide(
        severity=Severity.CRITICAL,
        cause="A later cycle of ours was on the symbol, and the database does not know it: a "
        "backup was restored.",
        action="Its position and orders are touched by nobody. Close them in the exchange's app, "
        "or take the position on by operate.py adopt.",
        outlives_cycle=True,
    ),
    AlarmKind.UNCLAIMED: Guide(
        severity=Severity.CRITICAL,
        cause="The symbol has a position, or orders with our names, and no cycle that knows them.",
        action="Nothing of it is touched. Close it in the exchange's app, or take a LONG on by "
        "operate.py adopt SYMBOL --alert FILE.",
    ),
    AlarmKind.UNCHECKED: Guide(
        severity=Severity.CRITICAL,
        cause="For minutes the exchange gave no answer about the symbol that can be used, or its "
        "streams told nothing.",
        action="What rests on the exchange stays; alerts are answered 503. Look at the text: one-"
        "way mode is switched back in the app (Preferences, Position Mode), a delisted symbol is "
        "taken out of SYMBOLS once its cycle has ended, streams need a way out (wss, port 443).",
    ),
    AlarmKind.UNWATCHED: Guide(
        severity=Severity.CRITICAL,
        cause="A cycle is open, and for a minute no monitor has held its symbol.",
        action="Start its monitor, or look at its log for why it waits. What rests on the exchange "
        "stays; levels, trailing and closes by net PNL wait. It settles itself once a monitor is "
        "there again.",
    ),
    AlarmKind.UNLISTED: Guide(
        severity=Severity.CRITICAL,
        cause="The exchange does not list a watched symbol as a perpetual any more.",
        action="Its cycle ends when the exchange has settled the position. Take it out of SYMBOLS "
        "then; the other symbols go on.",
    ),
    AlarmKind.FILLS_DIFFER: Guide(
        severity=Severity.CRITICAL,
        cause="The deep check found executions on the exchange that the database does not have, "
        "or the other way round.",
        action="Compare the trade numbers with the exchange's trade history. If another "
        "installation trades this account, give it an account of its own; else report it with "
        "the log, and look after the symbol yourself until it is explained.",
        outlives_cycle=True,
    ),
    AlarmKind.POSITION_DIFFERS: Guide(
        severity=Severity.CRITICAL,
        cause="The deep check found another position on the exchange than the database has.",
        action="If it is your own, on a symbol without a cycle: nothing. Else look whether the "
        "symbol is watched (operate.py status), and close what nobody watches in the exchange's "
        "app.",
        outlives_cycle=True,
    ),
    AlarmKind.ORDERS_DIFFER: Guide(
        severity=Severity.CRITICAL,
        cause="The deep check found an order of Tradebox on the exchange that no open cycle has, "
        "or misses one there.",
        action="Look whether the symbol is watched (operate.py status). Cancel an order that no "
        "cycle has in the exchange's app.",
        outlives_cycle=True,
    ),
    AlarmKind.LEDGER_DIFFERS: Guide(
        severity=Severity.WARNING,
        cause="The deep check found that an ended cycle's figures are not what the exchange paid.",
        action="Believe the exchange's income history. Report the numbers of the alarm: nothing is "
        "traded by them, but MAX_DAILY_LOSS and the reports count with them.",
        outlives_cycle=True,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One cause for a person to look; each is raised once in a cycle."""

    kind: AlarmKind
    about: str = ""  # tells causes of one kind apart
    text: str  # what happened, with its numbers
    at_ms: int

    @property
    def key(self) -> str:
        """Return what names the cause within its cycle."""
        return f"{self.kind}-{self.about}" if self.about else self.kind.value

    @property
    def guide(self) -> Guide:
        """Return what it means and what to do."""
        return GUIDES[self.kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class RaisedAlarm:
    """An alarm that nobody has settled, as people see it."""

    alarm_id: int
    symbol: str
    cycle_id: int | None  # None: of the symbol as such
    kind: str
    severity: Severity
    text: str  # of its newest cause
    action: str
    count: int  # of causes
    raised_at_ms: int
    last_at_ms: int
