"""Notices leave through Apprise: what arrives, and what a dead channel does."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
import structlog.testing
from pydantic import SecretStr

import operate
from config import Settings
from core.clients.notice_channels import open_channels
from core.clients.notices import Notices, notice_of
from core.domain.alarms import Alarm, AlarmKind
from core.errors import NoticeUndelivered
from core.logging_setup import Redaction
from core.ports import Topic
from flows.notices import make_notifiers
from tests.integration.receivers import Receiver, receiving

NOTICE = notice_of(
    Alarm(kind=AlarmKind.HEDGE_FAILED, text="refused: key abcd-efgh", at_ms=7),
    symbol="BTCUSDT",
    cycle="k1",
)
OPENED = replace(NOTICE, title="BTCUSDT: opened", text="LONG 1", topic=Topic.CYCLE, severity=None)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


def url_of(receiver: Receiver, *, token: str = "the-token-of-it") -> str:
    return f"json://127.0.0.1:{receiver.port}/{token}?rto=0.3&cto=0.3"


def dead_url() -> str:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"json://127.0.0.1:{probe.getsockname()[1]}/the-token-of-it"


def test_alarms_say_so_and_their_secrets_are_hidden(receiver: Receiver) -> None:
    (channel,) = open_channels(url_of(receiver), Redaction(["abcd-efgh"]).hide)
    channel.notify(NOTICE)
    channel.notify(OPENED)
    (path, first), (_, second) = receiver.wait_for(2)
    alarm, opened = json.loads(first), json.loads(second)
    assert path.startswith("/the-token-of-it")
    assert alarm["title"] == "ALARM BTCUSDT: hedge-failed"
    assert alarm["message"].startswith("refused: key ***. The LONG is unhedged")
    assert alarm["type"] == "failure"
    assert (opened["title"], opened["message"], opened["type"]) == (
        "BTCUSDT: opened",
        "LONG 1",
        "info",
    )
    assert b"apprise" not in (first + second).lower()


@pytest.mark.parametrize("between", [" ", ",", ", ", "\n"])
def test_several_addresses(receiver: Receiver, between: str) -> None:
    channels = open_channels(between.join([url_of(receiver), url_of(receiver)]))
    assert [channel.name for channel in channels] == ["channel 1 (JSON)", "channel 2 (JSON)"]


def test_one_that_cannot_be_reached_is_named_without_its_token() -> None:
    (channel,) = open_channels(dead_url())
    with pytest.raises(NoticeUndelivered, match=r"^channel 1 \(JSON\) did not take it$"):
        channel.notify(NOTICE)


def test_one_that_never_answers_is_given_up(receiver: Receiver) -> None:
    receiver.answers.clear()
    (channel,) = open_channels(url_of(receiver))
    with pytest.raises(NoticeUndelivered):
        channel.notify(NOTICE)


def test_dead_channels_delay_neither_the_living_nor_those_who_tell(receiver: Receiver) -> None:
    with receiving() as hanging:
        hanging.answers.clear()
        notices = Notices(open_channels(f"{dead_url()} {url_of(hanging)} {url_of(receiver)}"))
        with structlog.testing.capture_logs() as logs:
            notices.put(NOTICE)
            assert json.loads(receiver.wait_for(1)[0][1])["title"].startswith("ALARM")
            notices.close(within_s=60)
    assert [(line["event"], line["kind"]) for line in logs] == [
        ("notice not delivered", "hedge-failed")
    ] * 2


def test_settings_make_the_channels_and_hide_every_secret(receiver: Receiver) -> None:
    urls, secret = SecretStr(url_of(receiver)), SecretStr("abcd-efgh")
    settings = Settings(notify_urls=urls, webhook_secret=secret)
    for channel in make_notifiers(settings):
        channel.notify(replace(NOTICE, text="abcd-efgh and the-token-of-it"))
    assert json.loads(receiver.wait_for(1)[0][1])["message"] == "*** and ***"
    assert make_notifiers(Settings()) == ()


def test_the_operator_tries_them_out(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRADEBOX_ENV_FILE", "/dev/null")
    assert operate.main(["notify-test"]) == operate.EXIT_NOT_DONE
    assert "NOTIFY_URLS is not set" in capsys.readouterr().out
    monkeypatch.setenv("NOTIFY_URLS", f"{url_of(receiver)} {dead_url()}")
    assert operate.main(["notify-test"]) == operate.EXIT_NOT_DONE
    assert capsys.readouterr().out.splitlines() == [
        "channel 1 of 2 has taken it",
        "channel 2 (JSON) did not take it",
    ]
    assert json.loads(receiver.wait_for(1)[0][1])["title"] == "Tradebox: a test"
    monkeypatch.setenv("NOTIFY_URLS", url_of(receiver))
    assert operate.main(["notify-test"]) == 0
