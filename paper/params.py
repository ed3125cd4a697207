"""Request parameters: text in, typed values out, with the exchange's errors for bad ones."""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from paper.errors import RefusedError

CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]*)?|-?\.[0-9]+")
_MAX_ID = 2**63 - 1


class Params:
    """The parameters of one request. An empty value counts as not sent."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def text(self, name: str) -> str | None:
        """Return the value, None when it was not sent."""
        return self._values.get(name) or None

    def renamed(self, name: str, to: str) -> "Params":
        """Return the parameters with the value of `name` as that of `to`."""
        return Params({**self._values, to: self._values.get(name, "")})

    def required(self, name: str) -> str:
        """Return the value; raise -1102 when it was not sent."""
        value = self.text(name)
        if value is None:
            raise missing(name)
        return value

    def decimal(self, name: str) -> Decimal | None:
        """Return the value as a Decimal; raise -1102 when it is not a plain number."""
        value = self.text(name)
        if value is None:
            return None
        if not _NUMBER.fullmatch(value):
            raise missing(name)
        try:
            return Decimal(value)
        except InvalidOperation as error:
            raise missing(name) from error

    def required_decimal(self, name: str) -> Decimal:
        """Return the value as a Decimal; raise -1102 when it was not sent."""
        value = self.decimal(name)
        if value is None:
            raise missing(name)
        return value

    def integer(self, name: str) -> int | None:
        """Return the value as an integer; raise -1102 when it is not one of 64 bits."""
        value = self.text(name)
        if value is None:
            return None
        if not re.fullmatch(r"[0-9]{1,19}", value) or int(value) > _MAX_ID:
            raise missing(name)
        return int(value)

    def flag(self, name: str) -> bool:
        """Return a boolean parameter; raise -1130 when it is neither true nor false."""
        value = (self.text(name) or "false").lower()
        if value not in ("true", "false"):
            raise invalid(name)
        return value == "true"

    def choice(
        self, name: str, allowed: tuple[str, ...], default: str, code: int, text: str
    ) -> str:
        """Return one of `allowed`; raise `code` for anything else."""
        value = self.text(name) or default
        if value not in allowed:
            raise RefusedError(code, text)
        return value

    def limit(self, default: int, highest: int) -> int:
        """Return the page size."""
        value = self.integer("limit")
        if value is None:
            return default
        if not 1 <= value <= highest:
            raise invalid("limit")
        return value

    def client_id(self, name: str) -> str | None:
        """Return a client id in the exchange's alphabet, None when it was not sent."""
        value = self.text(name)
        if value is None:
            return None
        if len(value) > 36:
            raise RefusedError(-4015, "Client order id length should not be more than 36 chars.")
        if not CLIENT_ID.fullmatch(value):
            raise RefusedError(
                -1100,
                f"Illegal characters found in parameter '{name}'; legal range is "
                r"'^[\.A-Z\:/a-z0-9_-]{1,36}$'.",
            )
        return value


def missing(name: str) -> RefusedError:
    """Return -1102 for one parameter."""
    return RefusedError(
        -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    )


def not_required(name: str) -> RefusedError:
    """Return -1106; the exchange prints the name in lower case."""
    return RefusedError(-1106, f"Parameter '{name.lower()}' sent when not required.")


def invalid(name: str) -> RefusedError:
    """Return -1130 for one parameter."""
    return RefusedError(-1130, f"Data sent for parameter '{name}' is not valid.")
