"""A request's body, read no further than it may be long, and no longer than it may take."""

import asyncio
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

# A body has it all at once, or a second later; who takes longer wants to keep us busy.
BODY_WITHIN_S: Final = 3.0


async def read_limited(request: Request, limit: int) -> bytes:
    """Return the body, whatever its type is said to be.

    Raises:
        HTTPException: 413 it is longer than `limit` bytes, 408 it was too slow, 400 it broke off.
    """
    closing = {"Connection": "close"}  # or the rest of the body would still be read
    raw = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            async for chunk in request.stream():
                raw += chunk
                if len(raw) > limit:
                    raise HTTPException(413, f"the body is longer than {limit} bytes", closing)
    except TimeoutError:
        text = f"the body did not come within {BODY_WITHIN_S:g} s"
        raise HTTPException(408, text, closing) from None
    except ClientDisconnect:
        raise HTTPException(400, "the body broke off") from None  # which nobody hears
    return bytes(raw)
