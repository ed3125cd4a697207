"""The gateway that every process makes of its settings."""

from decimal import Decimal
from pathlib import Path

import pytest

from config import Settings
from flows.gateway import make_gateway


@pytest.mark.parametrize("share", ["1", "0.5", "0.001"])
async def test_whatever_share_is_legal_something_may_be_asked(
    share: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # keep a developer's settings out
    settings = Settings(rate_share=Decimal(share), paper_url="http://127.0.0.1:9")
    await make_gateway(settings).close()
