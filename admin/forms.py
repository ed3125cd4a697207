"""Forms of the panel: short, and sent from a page of this session only."""

import secrets
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

from flows.body import read_limited

FORM_LIMIT: Final = 16 * 1024  # bytes
FIELDS_LIMIT: Final = 20
TOKEN: Final = "token"  # in the session, and in every form
STALE: Final = (
    "This form is out of date, or cookies are off: nothing was done. Load the page again."
)
_BYTES: Final = 32


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form; of a field sent twice the last. HTTPException: it is none."""
    raw = await read_limited(request, FORM_LIMIT)
    try:
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS_LIMIT
        )  # what is no UTF-8 in it becomes a mark of replacement
    except ValueError as error:
        raise HTTPException(400, "this is no form of the panel") from error
    return dict(pairs)


def token_of(session: dict[str, Any]) -> str:
    """Return the token that forms of this session carry; made when first asked for."""
    if TOKEN not in session:
        renew_token(session)
    return str(session[TOKEN])


def renew_token(session: dict[str, Any]) -> None:
    """Let every form that was handed out be out of date."""
    session[TOKEN] = secrets.token_urlsafe(_BYTES)


def has_token(session: dict[str, Any], form: dict[str, str]) -> bool:
    """Return whether the form is one of this session's."""
    known, given = session.get(TOKEN), form.get(TOKEN, "")
    return isinstance(known, str) and secrets.compare_digest(
        known.encode(), given.encode("utf-8", "surrogatepass")
    )


async def read_own_form(request: Request) -> dict[str, str]:
    """Return the fields of a form of this session. HTTPException: 403 if it is not."""
    form = await read_form(request)
    if not has_token(request.session, form):
        raise HTTPException(403, STALE)
    return form
