"""Anything at all may come to the webhook: no 500, no traceback, no row that is left half-way.

Bodies are drawn by Hypothesis, and by Schemathesis from the OpenAPI document. `make test` tries a
few hundred, `make fuzz` more than ten thousand (FUZZ_EXAMPLES).
"""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation

from tests.integration.api_world import Api, running_api
from tests.unit.samples import ALERT, alert

Operation = APIOperation[Any, Any, Any, Any]
AnyCase = schemathesis.Case[Any]
EXAMPLES: Final = int(os.environ.get("FUZZ_EXAMPLES", "150"))
EXPECTED: Final = {200, 403, 409, 413, 422, 503}

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    st.decimals(allow_nan=True).map(str),
    st.sampled_from(
        [
            "",
            " ",
            "NaN",
            "1e999",
            "-0",
            "0.5|1|2",
            "|",
            "{{close}}",
            "\x00",
            "\ud800",
            "\uff11",
            "1,5",
        ]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=12,
)
fields = sorted(
    {
        *(key for key in ALERT if key not in ("open", "settings")),
        *(f"{group}__{key}" for group in ("open", "settings") for key in ALERT[group]),
        *("id", "action", "test", "time", "timenow", "secret", "open", "settings"),
        *(f"settings__{key}" for key in ("grid_mode", "max_hedges", "max_loss", "grid_ahead")),
    }
)
actions = st.sampled_from(["open", "close", "cancel", "pause", "resume", "close_all", "sell"])


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


changed = st.dictionaries(st.sampled_from(fields), values, min_size=0, max_size=4).map(
    lambda changes: (
        alert(**dict(sorted(changes.items())[::-1]))
        if not {"open", "settings"} & changes.keys()
        else {**ALERT, **{key: value for key, value in changes.items() if "__" not in key}}
    )
)
# Tried out, they go through all checks again and again; the others open the one cycle there can be.
tried = changed.map(lambda payload: {**payload, "test": True})
signals = st.fixed_dictionaries(
    {"action": actions, "symbol": st.just("BTCUSDT") | scalars}, optional={"test": scalars}
)
broken = st.builds(lambda raw, end: raw[:end], changed.map(as_json), st.integers(0, 900))
bodies = st.one_of(
    tried.map(as_json),
    changed.map(as_json),
    signals.map(as_json),
    values.map(as_json),
    broken,
    st.binary(max_size=300),
)


def check(api: Api, answer: httpx.Response, row: Any) -> None:
    assert answer.status_code in EXPECTED, answer.text
    told = answer.json()
    assert told["status"] in {
        "accepted",
        "skipped",
        "duplicate",
        "tested",
        "refused",
        "unavailable",
    }
    assert row is not None, "every alert is stored"
    assert row.status.is_final
    assert row.http_status == answer.status_code


@contextlib.contextmanager
def api_of(url: str) -> Iterator[tuple[asyncio.Runner, Api]]:
    """Yield an API that turns nobody away, and the loop that it lives on."""
    with asyncio.Runner() as runner, contextlib.ExitStack() as stack:
        context = running_api(url, alert_rate=100_000, alert_total_rate=100_000)
        api = runner.run(context.__aenter__())
        stack.callback(lambda: runner.run(context.__aexit__(None, None, None)))
        yield runner, api


def test_whatever_comes_is_answered_and_stored_whole(
    migrated_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with api_of(migrated_url) as (runner, api):

        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
        @given(bodies)
        def each(raw: bytes) -> None:
            answer = runner.run(api.send(raw))
            check(api, answer, runner.run(api.store.webhook(answer.json()["webhook_id"])))

        each()
        assert errors_in(caplog) == []


def test_what_the_document_allows_and_what_it_does_not(
    migrated_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Every operation of the OpenAPI document, with cases that fit it and cases that do not."""
    with api_of(migrated_url) as (runner, api):
        document = schemathesis.openapi.from_dict(api.app.openapi())
        operations = [
            found.ok() for found in document.get_all_operations() if isinstance(found, Ok)
        ]
        assert {operation.label for operation in operations} == {
            "POST /webhook",
            "POST /webhook/{token}",
            "GET /ping",
            "GET /health/live",
            "GET /health/ready",
        }
        for operation in operations:
            examples = EXAMPLES // 6 if operation.method == "post" else 5
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                if mode is GenerationMode.NEGATIVE and operation.method == "get":
                    continue  # nothing of theirs can be wrong
                try_out(runner, api, operation, mode, examples)
        assert errors_in(caplog) == []


def errors_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged as an error; another test of the process may have chosen a level."""
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]


def try_out(
    runner: asyncio.Runner, api: Api, operation: Operation, mode: GenerationMode, examples: int
) -> None:
    """Send cases of one operation; each answer must be one that the document knows."""
    known = {int(status) for status in operation.definition.raw["responses"]}

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=mode))
    def each(case: AnyCase) -> None:
        raw = case.as_transport_kwargs(base_url="http://api")
        request = httpx.Request(
            raw["method"],
            raw["url"],
            params=raw.get("params"),
            headers=dict(raw["headers"]),
            content=as_bytes(raw),
        )
        answer = runner.run(api.http.send(request))
        assert answer.status_code < 500 or answer.status_code == 503, answer.text
        assert answer.status_code in known, (answer.status_code, answer.text)
        assert isinstance(answer.json(), dict)

    each()


def as_bytes(raw: dict[str, Any]) -> bytes:
    if "json" in raw:
        return as_json(raw["json"])
    data = raw.get("data", b"")
    return data if isinstance(data, bytes) else str(data).encode("utf-8", "surrogatepass")
