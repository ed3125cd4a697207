"""What the cycles that ended in a day earned, by symbol and reason.

All sums are made here, in exact decimals, never in SQL. Amounts in different quote assets are never
added up.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal

from core.money import ZERO, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedCycle:
    """The figures of one ended cycle, in its quote asset."""

    symbol: str
    quote_asset: str
    reason: str  # a CloseReason
    realised: Decimal  # gross of commissions
    commissions: Decimal  # positive is paid
    funding: Decimal  # positive is received
    net_pnl: Decimal  # realised + funding − commissions


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """The figures of several cycles together."""

    cycles: int = 0
    won: int = 0  # with a net PNL above 0
    realised: Decimal = ZERO
    commissions: Decimal = ZERO
    funding: Decimal = ZERO
    net_pnl: Decimal = ZERO

    def __add__(self, other: "Sums") -> "Sums":
        """Return both together."""
        names = (field.name for field in fields(self))
        return Sums(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """All cycles of a symbol that ended for one reason."""

    symbol: str
    quote_asset: str
    reason: str
    sums: Sums


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyReport:
    """What a day brought; a cycle belongs to the UTC day in which it ended."""

    day: date
    lines: tuple[Line, ...]  # by symbol and reason

    def totals(self) -> dict[str, Sums]:
        """Return the sums of the whole day, by quote asset."""
        totals: dict[str, Sums] = defaultdict(Sums)
        for line in self.lines:
            totals[line.quote_asset] += line.sums
        return dict(sorted(totals.items()))


def daily_report(day: date, ended: Iterable[EndedCycle]) -> DailyReport:
    """Return the report of the cycles that ended in a day."""
    sums: dict[tuple[str, str, str], Sums] = defaultdict(Sums)
    for cycle in ended:
        sums[cycle.symbol, cycle.quote_asset, cycle.reason] += Sums(
            cycles=1,
            won=int(cycle.net_pnl > 0),
            realised=cycle.realised,
            commissions=cycle.commissions,
            funding=cycle.funding,
            net_pnl=cycle.net_pnl,
        )
    lines = (
        Line(symbol=symbol, quote_asset=quote, reason=reason, sums=found)
        for (symbol, quote, reason), found in sorted(sums.items())
    )
    return DailyReport(day=day, lines=tuple(lines))


_HEAD = ("symbol", "reason", "cycles", "won", "realised", "fees", "funding", "net PNL", "in")


def as_markdown(report: DailyReport) -> str:
    """Return the report as a table that reads well as plain text, too."""
    title = f"Cycles ended on {report.day.isoformat()} (UTC)"
    if not report.lines:
        return f"{title}: none\n"
    rows = [_row(x.symbol, x.reason, x.sums, x.quote_asset) for x in report.lines]
    rows += [_row("all", "", sums, quote) for quote, sums in report.totals().items()]
    return f"{title}\n\n{_table([_HEAD, *rows])}"


def _row(symbol: str, reason: str, sums: Sums, quote: str) -> tuple[str, ...]:
    money = (sums.realised, -sums.commissions, sums.funding, sums.net_pnl)
    return (symbol, reason, str(sums.cycles), str(sums.won), *map(shown, money), quote)


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = [
        ("-" * (width - 1) + ":") if 2 <= i < 8 else "-" * width for i, width in enumerate(widths)
    ]
    lines = [rows[0], rule, *rows[1:]]
    return "".join(
        "| "
        + " | ".join(
            cell.rjust(width) if 2 <= i < 8 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |\n"
        for line in lines
    )
