"""Text and JSON from outside, made fit to be stored anywhere."""

import hashlib
import re
from collections.abc import Mapping

import msgspec

# PostgreSQL stores no NUL, no encoder takes half a surrogate pair; both can stand in valid JSON.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
MAX_ID = 200
MAX_SYMBOL = 64
MAX_TEXT = 2000  # a whole page of HTML as an error text helps nobody


def clean_text(text: str, *, limit: int = MAX_TEXT) -> str:
    """Return `text` without characters that cannot be stored, cut to `limit`."""
    return _UNSTORABLE.sub("\ufffd", text)[:limit]


def clean_id(text: str | None) -> str | None:
    """Return an id that fits its column; one that is too long keeps its difference in a hash."""
    if text is None or len(text) <= MAX_ID:
        return None if text is None else clean_text(text)
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return clean_text(text, limit=MAX_ID - len(digest)) + digest


def clean_payload(payload: Mapping[str, object]) -> dict[str, object]:
    """Return a JSON object fit for any JSON column: decimals as text, no unstorable characters."""
    result = cleaned(msgspec.to_builtins(dict(payload)))
    assert isinstance(result, dict)
    return result


def cleaned(value: object) -> object:
    """Return a JSON value without characters that cannot be stored."""
    match value:
        case str():
            return _UNSTORABLE.sub("\ufffd", value)
        case dict():
            return {cleaned(key): cleaned(item) for key, item in value.items()}
        case list():
            return [cleaned(item) for item in value]
        case _:
            return value
