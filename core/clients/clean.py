"""Text and JSON from outside, made fit to be stored anywhere."""

import re
from collections.abc import Mapping

import msgspec

# PostgreSQL stores no NUL, no encoder takes half a surrogate pair; both can stand in valid JSON.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
MAX_TEXT = 2000  # a whole page of HTML as an error text helps nobody


def clean_text(text: str, *, limit: int = MAX_TEXT) -> str:
    """Return `text` without characters that cannot be stored, cut to `limit`."""
    return _UNSTORABLE.sub("\ufffd", text)[:limit]


def clean_payload(payload: Mapping[str, object]) -> dict[str, object]:
    """Return a JSON object fit for any JSON column: decimals as text, no unstorable characters."""
    cleaned = _clean(msgspec.to_builtins(dict(payload)))
    assert isinstance(cleaned, dict)
    return cleaned


def _clean(value: object) -> object:
    match value:
        case str():
            return _UNSTORABLE.sub("\ufffd", value)
        case dict():
            return {_clean(key): _clean(item) for key, item in value.items()}
        case list():
            return [_clean(item) for item in value]
        case _:
            return value
