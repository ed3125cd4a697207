"""What `make env` writes: settings that Tradebox takes as they are, with passwords of their own."""

from pathlib import Path

import pytest

from config import load_settings
from scripts.make_env import content, filled, main

EXAMPLE = (Path(__file__).resolve().parent.parent.parent / ".env.example").read_text("utf-8")


def values(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_its_settings_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(content(EXAMPLE, ["paper", "prefect"]))
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert settings.prefect_api_url == "http://prefect:4200/api"
    assert settings.admin_password is not None
    assert settings.webhook_secret is not None


def test_every_password_is_long_and_another_each_time() -> None:
    names = ("ADMIN_PASSWORD", "SESSION_SECRET", "WEBHOOK_SECRET", "POSTGRES_PASSWORD")
    made = [values(content(EXAMPLE, ["paper"])) for _ in range(2)]
    passwords = [one[name] for one in made for name in names]
    assert len(set(passwords)) == len(passwords)
    assert min(map(len, passwords)) >= 32


def test_without_prefect_nothing_is_reported() -> None:
    assert values(content(EXAMPLE, ["paper"]))["PREFECT_API_URL"] == ""


def test_a_name_that_the_example_lost_is_an_error() -> None:
    with pytest.raises(ValueError, match="NOT_THERE stands 0 times"):
        filled(EXAMPLE, {"NOT_THERE": "x"})


def test_a_profile_that_does_not_exist_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--profiles", "paper,nonsense"])
    assert "no profile nonsense; there are paper, prefect, jobs" in capsys.readouterr().err
