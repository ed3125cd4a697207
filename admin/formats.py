"""How values look in the panel."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any, Final

from markupsafe import Markup

from core.money import shown

NOTHING: Final = "–"


def money(value: Decimal) -> str:
    """Return the number as in print: eight decimals at most, no zeros at its end, no exponent."""
    return shown(value)


def rounded(value: Decimal) -> str:
    """Return the number with at most four decimals."""
    return shown(round(value, 4))


def moment(value: datetime) -> str:
    """Return the time in UTC, to the second."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def exact_moment(value: datetime) -> str:
    """Return the time in UTC, to the millisecond."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:23] + " UTC"


def yes_no(value: bool) -> str:
    """Return the word."""
    return "yes" if value else "no"


def word(value: Enum) -> str:
    """Return an enum's value."""
    return str(value.value)


def block(value: Any) -> Markup:
    """Return JSON on lines of its own."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return Markup("<pre class='mb-0'>{}</pre>").format(text)


def lines(value: list[Any]) -> Markup:
    """Return each item on a line of its own."""
    if all(isinstance(item, str) for item in value):
        return Markup("<br>").join(value)
    return block(value)


def nothing(value: None) -> str:
    """Return a dash."""
    return NOTHING


IN_LISTS: Final[dict[type, Any]] = {
    type(None): nothing,
    bool: yes_no,
    Decimal: money,
    datetime: moment,
    list: lines,
    dict: block,
    Enum: word,
    StrEnum: word,
}
IN_DETAILS: Final = IN_LISTS | {datetime: exact_moment}
