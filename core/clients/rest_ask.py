"""Ask through a transport and read the answer: the step that every endpoint shares."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import msgspec

from core.clients.rest_answers import no_answer
from core.clients.rest_call import Call, RestTransport
from core.translate.words import Untranslatable

T = TypeVar("T")


async def ask(transport: RestTransport, answer: type[T], call: Call) -> T:
    """Return the success answer to one call.

    One that cannot be read is as good as none: OutcomeUnknown, or ExchangeUnavailable for a read.
    """
    body = await transport.send(call)
    try:
        return msgspec.json.decode(body, type=answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        text = f"{call.path}: the answer cannot be read: {error}"
        raise no_answer(text, changes=call.changes) from None


@contextmanager
def understood(*, changes: bool = False) -> Iterator[None]:
    """Turn an answer without meaning for us into one that cannot be read."""
    try:
        yield
    except Untranslatable as error:
        raise no_answer(str(error), changes=changes) from None


def read_call(
    path: str,
    parameters: dict[str, str] | None = None,
    *,
    weight: int = 1,
    version: int = 1,
    is_signed: bool = True,
    is_urgent: bool = False,
) -> Call:
    """Return a GET."""
    return Call(
        method="get",
        path=path,
        version=version,
        parameters=parameters or {},
        is_signed=is_signed,
        weight=weight,
        is_urgent=is_urgent,
    )
