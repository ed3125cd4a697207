"""From what the processes told in undisturbed runs to the points at which they are killed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tests.crash_matrix.performance import Death, Told
from tests.crash_matrix.tales import PRICES, Tale

# Driven by a timer, in whichever act it runs out: the first in a tale stands for all of them.
_BY_TIMER = ("renew_leases", "show_prices", "PUT listenKey", "GET commissionRate")
# Of the monitor: what the check of every minute does, and what it reads of each symbol in the
# background once it runs. A start makes a check, too, and reads the rules of all symbols at once;
# the income it reads for each cycle that ended just before.
_BY_CHECK = ("record_checks", "commit_and_tell", "GET openAlgoOrders", "GET openOrders")
_OF_RULES = ("save_rules", "GET exchangeInfo", "GET leverageBracket")
_READS_OF_AN_END = 2  # GET positionRisk: any more are the check's
_OF_FLOWS = ("begin of", "end of")
_CHANGES = ("POST order", "POST algoOrder", "PUT order", "DELETE order", "DELETE algoOrder")
_OF_CHANGES = ("before", "on its way:", "after")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One moment at which nothing has happened yet that lies behind the next one."""

    tale: Tale
    death: Death
    about: tuple[str, ...]  # all that it is the moment of

    @property
    def act_name(self) -> str:
        """Return the act for the table."""
        if self.death.is_recovery:
            return f"coming back: {self.tale.acts[self.tale.recovery].name}"
        return "any" if self.death.act is None else self.tale.acts[self.death.act].name

    @property
    def name(self) -> str:
        """Return the point for the table."""
        moment_of, *others = self.about
        number = f" (number {self.death.number})" if self.death.number > 1 else ""
        moment = next(
            (
                m
                for m in (*_OF_FLOWS, "before commit of", "after commit of")
                if moment_of.startswith(m)
            ),
            "",
        )
        more = "".join(f", {other.removeprefix(moment).strip()}" for other in others)
        return moment_of + more + number

    def known_by(self, tries: int) -> Death:
        """Return the death to order in a first, second, … try.

        What happens together in one run may happen apart in the next: each try looks for another
        part of it. A flow is the same whatever the news.
        """
        about = self.about[(tries - 1) % len(self.about)]
        if about.startswith(_OF_FLOWS):
            return replace(self.death, point=f"{_flow_of(about)}*")
        return replace(self.death, point=_literally(about))

    @property
    def changes_the_exchange(self) -> bool:
        """Return whether it lies beside a request that places, amends or cancels an order."""
        return any(
            self.death.point.startswith(f"{moment} {change}")
            for moment in _OF_CHANGES
            for change in _CHANGES
        )


def points_of(tale: Tale, told: Iterable[Told]) -> Iterator[Point]:
    """Yield the distinguishable points of a tale, in their order.

    What a timer does is the same in every act. A flow or task begins and ends between a commit or
    request and the next, where a death leaves the same as just before the one or after the other:
    each of them dies once at its begin and once at its end, whatever the news, to see that this is
    so.
    """
    known: set[tuple[object, ...]] = set()
    for one in told:
        keys = [_key(tale, one, point, number) for point, number in one.points]
        is_known = any(key in known for key in keys)
        known.update(keys)
        if is_known:
            continue
        point, number = one.points[0]
        by_timer = _is_by_timer(tale, one, point, number)
        is_of_flow = point.startswith(_OF_FLOWS)
        death = Death(
            act=None if one.is_recovery or by_timer or is_of_flow else one.act,
            program=one.program,
            point=_flow_of(point) if is_of_flow else point,
            number=1 if by_timer or is_of_flow else number,
            is_recovery=one.is_recovery and not by_timer,
            by_timer=by_timer,
        )
        yield Point(tale=tale, death=death, about=tuple(p for p, _ in one.points))


def _is_by_timer(tale: Tale, told: Told, point: str, number: int) -> bool:
    if any(word in point for word in _BY_TIMER) or _is_old_news(point):
        return True
    if told.program != "monitor":
        return False
    if told.is_recovery:  # a start makes one check; what is more is the next one
        is_next = number > len(PRICES) and any(w in point for w in (*_BY_CHECK, "positionRisk"))
        return is_next or (number > 1 and any(w in point for w in (*_OF_RULES, "GET income")))
    of_an_end = 0 if told.act < len(tale.acts) - 1 else 1
    is_more = point.endswith("GET positionRisk") and number > _READS_OF_AN_END
    is_of_the_hour = point.endswith("GET income") and number > of_an_end
    return is_more or is_of_the_hour or any(word in point for word in (*_BY_CHECK, *_OF_RULES))


def _is_old_news(point: str) -> bool:
    """Return whether a commit changes no order and no phase: it is named by its facts then."""
    return point.partition(" commit of ")[2][:1].isupper()


def _key(tale: Tale, told: Told, point: str, number: int) -> tuple[object, ...]:
    if _is_by_timer(tale, told, point, number):
        return (told.program, point)
    if point.startswith(_OF_FLOWS):
        return (_flow_of(point),)
    return (told.is_recovery or told.act, told.is_recovery, told.program, point, number)


def _flow_of(point: str) -> str:
    return " ".join(point.split()[:3])  # "begin of order_new_flow", whatever the news


def _literally(text: str) -> str:
    """Return a shell pattern that only the text itself fits."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)
