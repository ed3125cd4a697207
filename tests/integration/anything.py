"""Any value of a type of the domain: whatever can be built must come back from the database."""

import dataclasses
import types
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import Any, NewType, TypeVar, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

Value = TypeVar("Value")

LATEST_MS = 4_000_000_000_000  # in the year 2096

_DECIMALS = st.builds(
    lambda digits, places: Decimal(digits).scaleb(-places),
    st.integers(min_value=-(10**24), max_value=10**24),
    st.integers(min_value=-2, max_value=28),
)
_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)

_SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    type(None): st.none(),
    Decimal: _DECIMALS,
    str: _TEXT,
    bool: st.booleans(),
}


def anything(kind: type[Value], **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Value]:
    """Return a strategy for a dataclass, every field of it, with some fields as given."""
    hints = get_type_hints(kind)
    arguments = {
        field.name: given.get(field.name, _of(hints[field.name], field.name))
        for field in dataclasses.fields(kind)  # type: ignore[arg-type]  # a dataclass by contract
    }
    return st.builds(kind, **arguments)


@cache
def _of(hint: Any, name: str) -> st.SearchStrategy[Any]:
    if isinstance(hint, NewType):
        return _of(hint.__supertype__, name)
    if get_origin(hint) in (Union, types.UnionType):
        return st.one_of(*(_of(each, name) for each in get_args(hint)))
    if get_origin(hint) is tuple:
        items = get_args(hint)
        if items[-1] is Ellipsis:
            return st.lists(_of(items[0], name), max_size=2).map(tuple)
        return st.tuples(*(_of(item, name) for item in items))
    if hint is int:
        largest = LATEST_MS if name.endswith("_ms") else 2**31 - 1
        return st.integers(min_value=0, max_value=2**53 if "order_id" in name else largest)
    if hint in _SIMPLE:
        return _SIMPLE[hint]
    return st.sampled_from(hint) if issubclass(hint, StrEnum) else anything(hint)
