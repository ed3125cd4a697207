"""An alert's entry without the trade: read and judged as for a real one, nothing changed."""

from dataclasses import dataclass, replace

from core.domain.cycle import SideReport
from core.entry_checks import EntryPicture, EntryPlan, plan_entry
from core.errors import SymbolInUse
from core.grid import Grid
from core.money import ZERO
from core.ports import Balance
from core.preview import Preview, preview_of
from flows.positions_flow import Entries, EntryOrdered, read_picture
from flows.runtime import flow


@dataclass(frozen=True, slots=True, kw_only=True)
class Previewed:
    """The entry as it would be made, and what it would lead to."""

    grid: Grid
    preview: Preview
    balance: Balance
    warnings: tuple[str, ...]


def _tags(entries: Entries, ordered: EntryOrdered) -> tuple[str, ...]:
    return (f"symbol:{ordered.settings.symbol}", f"webhook:{ordered.webhook_id}", "test")


@flow(tags_of=_tags)
async def preview_position(entries: Entries, ordered: EntryOrdered) -> Previewed:
    """Return what `open_long_position` would do; raises what its checks raise, but SymbolInUse."""
    picture = await read_picture(entries, ordered)
    warnings = list(ordered.warnings)
    try:
        plan = _planned(entries, ordered, picture)
    except SymbolInUse as error:
        warnings.append(f"{error}: a real alert would be refused")
        nothing = SideReport(quantity=ZERO, entry=ZERO, updated_at_ms=0)
        position = replace(picture.position, long=nothing, short=nothing)
        picture = replace(picture, position=position, open_orders=())
        plan = _planned(entries, ordered, picture)
    return Previewed(
        grid=plan.grid,
        preview=preview_of(
            ordered.settings,
            plan.grid,
            ordered.rules,
            wallet=picture.balance.wallet if picture.is_cross_margin else None,
        ),
        balance=picture.balance,
        warnings=(*warnings, *plan.warnings),
    )


def _planned(entries: Entries, ordered: EntryOrdered, picture: EntryPicture) -> EntryPlan:
    return plan_entry(
        ordered.settings,
        ordered.rules,
        picture,
        policy=entries.policy,
        lack_of_funds_warns=entries.lack_of_funds_warns,
    )
