"""Requests that wait for room in the limits."""

import asyncio

import pytest

from core.clients.patient_rest import PATIENCE_S, PatientRest
from core.clients.rest_call import Call
from core.errors import RateLimited

READ = Call(method="get", path="userTrades", is_urgent=True)


class Crowded:
    """`RestTransport` that has no room for a while."""

    def __init__(self, *pauses_ms: int) -> None:
        self.pauses_ms = list(pauses_ms)
        self.sent: list[Call] = []
        self.synced = self.closed = False

    def now_ms(self) -> int:
        return 7

    async def sync_clock(self) -> None:
        self.synced = True

    async def close(self) -> None:
        self.closed = True

    async def send(self, call: Call) -> bytes:
        self.sent.append(call)
        if self.pauses_ms:
            raise RateLimited(retry_after_ms=self.pauses_ms.pop(0))
        return b"[]"


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return how long was slept; no time passes."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return pauses


async def test_it_waits_as_long_as_it_is_told_and_is_never_urgent(slept: list[float]) -> None:
    crowded = Crowded(1_500, 60_000)
    assert await PatientRest(crowded).send(READ) == b"[]"
    assert slept == [1.5, 60.0]
    assert [call.is_urgent for call in crowded.sent] == [False] * 3


async def test_a_ban_is_not_waited_for(slept: list[float]) -> None:
    crowded = Crowded(60_000, int(PATIENCE_S * 1000))
    with pytest.raises(RateLimited):
        await PatientRest(crowded).send(READ)
    assert slept == [60.0]


async def test_it_never_changes_anything() -> None:
    crowded = Crowded()
    with pytest.raises(AssertionError):
        await PatientRest(crowded).send(Call(method="post", path="order"))
    assert crowded.sent == []


async def test_the_rest_is_the_transport_s() -> None:
    crowded = Crowded()
    patient = PatientRest(crowded)
    await patient.sync_clock()
    await patient.close()
    assert (patient.now_ms(), crowded.synced, crowded.closed) == (7, True, True)
