"""Logs are kept quiet, and a task that failed unseen fails its test."""

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs


@pytest.fixture(autouse=True)
def _no_task_fails_unseen() -> Iterator[None]:
    with capture_logs() as logs:
        yield
    assert [entry for entry in logs if entry["event"] == "task failed"] == []
