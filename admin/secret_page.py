"""The panel's page of the alerts' secrets: what there is, never what it says; make and revoke."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request

from admin.forms import read_own_form, renew_token
from core.alert_secrets import NewSecret, make_secret, secret_name
from core.clients import rows
from core.clients.alert_store import AlertStore
from core.domain.webhook import AlertSecret

_LARGEST_ID: Final = 2**31 - 1
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretLine:
    """A secret as one line."""

    number: int
    name: str
    may_close_all: bool
    created_by: str
    created_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the page shows.

    Attributes:
        lines: all secrets, revoked ones included.
        is_open: neither is there a secret nor was there one: anyone may send.
        made: the one that was just made; its text is shown this once.
        said: what was done.
        error: what is wrong with the name that was given.
        name: that name.
        status: of the answer.
    """

    lines: tuple[SecretLine, ...]
    is_open: bool
    made: NewSecret | None = None
    said: str = ""
    error: str = ""
    name: str = ""
    status: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    made: NewSecret | None = None
    said: str = ""
    error: str = ""
    name: str = ""


class SecretPage:
    """Answers the page's requests; whoever asks is the operator."""

    def __init__(
        self,
        store: AlertStore,
        *,
        asked_by: str,
        has_installation: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Keep secrets in `store`, as made by `asked_by`; WEBHOOK_SECRET may be one beside them."""
        self._store, self._asked_by, self._clock = store, asked_by, clock
        self._has_installation = has_installation

    async def answer(self, request: Request) -> Shown:
        """Do what a form of the page asks for, if there is one, and return what is shown then."""
        done = _Done()
        if request.method == "POST":
            done = await self._do(request, await read_own_form(request))
        found = await self._store.secrets()
        return Shown(
            lines=tuple(_line(secret) for secret in found),
            is_open=not found and not self._has_installation,
            made=done.made,
            said=done.said,
            error=done.error,
            name=done.name,
            status=422 if done.error else 200,
        )

    async def _do(self, request: Request, form: dict[str, str]) -> _Done:
        match form.get("do"):
            case "create":
                return await self._create(request, form)
            case "revoke":
                return await self._revoke(form.get("number", ""))
            case _:
                raise HTTPException(400, "The form does not say what to do.")

    async def _create(self, request: Request, form: dict[str, str]) -> _Done:
        given = form.get("name", "")
        try:
            name = secret_name(given)
        except ValueError as error:
            return _Done(error=f"The name {error}.", name=given)
        made = await make_secret(
            self._store,
            name,
            may_close_all=form.get("may_close_all") == "yes",
            created_by=self._asked_by,
            created_at_ms=self._now_ms(),
        )
        renew_token(request.session)  # the same form sent again, by a reload, makes no second one
        _log.info("secret of alerts made", number=made.secret_id, source=name)
        return _Done(made=made)

    async def _revoke(self, number: str) -> _Done:
        secret_id = int(number) if number.isascii() and number.isdigit() else 0
        if not 0 < secret_id <= _LARGEST_ID:
            raise HTTPException(400, "The form does not say which secret.")
        if not await self._store.revoke_secret(secret_id, at_ms=self._now_ms()):
            return _Done(said=f"Secret {secret_id} is not there, or was revoked before.")
        _log.info("secret of alerts revoked", number=secret_id)
        return _Done(said=f"Secret {secret_id} is revoked: within two seconds it opens nothing.")

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _line(secret: AlertSecret) -> SecretLine:
    used_ms, revoked_ms = secret.last_used_at_ms, secret.revoked_at_ms
    return SecretLine(
        number=secret.secret_id,
        name=secret.name,
        may_close_all=secret.may_close_all,
        created_by=secret.created_by,
        created_at=rows.moment(secret.created_at_ms),
        used_at=None if used_ms is None else rows.moment(used_ms),
        revoked_at=None if revoked_ms is None else rows.moment(revoked_ms),
    )
