"""Where notices are sent: one Apprise service for each address of NOTIFY_URLS.

Apprise and its hundred services take seconds to import on a small machine: import this module only
where there is an address.
"""

from collections.abc import Callable
from typing import Final

from apprise import Apprise, AppriseAsset, NotifyBase, NotifyFormat, NotifyType
from apprise.utils.parse import parse_urls

from core.domain.alarms import Severity
from core.errors import NoticeUndelivered
from core.ports import Notice, Topic

# Apprise gives up connecting, and waiting for a piece of an answer, after 4 s each; an address may
# say otherwise (`?cto=2&rto=2`). Nothing is kept in files, and no picture of Apprise's is linked.
_ASSET: Final = AppriseAsset(
    app_id="Tradebox",
    app_desc="Tradebox",
    app_url="",
    image_url_mask="",
    image_url_logo="",
    storage_mode="memory",
    secure_logging=True,
    async_mode=False,
)
_TYPES: Final = {Severity.CRITICAL: NotifyType.FAILURE, Severity.WARNING: NotifyType.WARNING}


class Channel:
    """One service; its `notify` blocks until the service has answered, or has not."""

    def __init__(self, service: NotifyBase, name: str, hide: Callable[[str], str]) -> None:
        self.name = name
        self._service = service
        self._hide = hide

    def notify(self, notice: Notice) -> None:
        """Send a notice, its secrets hidden; raise NoticeUndelivered where that failed."""
        known = _TYPES.get(notice.severity) if notice.severity is not None else None
        sender = Apprise(asset=_ASSET)
        sender.add(self._service)
        title = self._hide(notice.title)
        if not sender.notify(
            title=f"ALARM {title}" if notice.topic is Topic.ALARM else title,
            body=self._hide(notice.text),
            notify_type=known or NotifyType.INFO,
            body_format=NotifyFormat.TEXT,
        ):
            # Never the address: it holds the service's token.
            raise NoticeUndelivered(f"{self.name} did not take it")


def open_channels(urls: str, hide: Callable[[str], str] = str) -> tuple[Channel, ...]:
    """Return a channel for each address; ValueError says which one is not understood.

    Args:
        urls: addresses as Apprise knows them, separated by spaces or commas.
        hide: takes secrets out of a text.
    """
    channels = []
    for number, url in enumerate(_split(urls), start=1):
        service = Apprise.instantiate(url, asset=_ASSET, suppress_exceptions=True)
        schema = url.partition("://")[0]
        if not isinstance(service, NotifyBase):
            raise ValueError(
                f"address {number} ({schema}://…) is not understood; "
                "see https://appriseit.com/services/ for how each service is written"
            )
        name = f"channel {number} ({service.service_name})"
        channels.append(Channel(service, name, hide))
    if not channels:
        raise ValueError("holds no address such as tgram://bot-token/chat-id")
    return tuple(channels)


def _split(urls: str) -> list[str]:
    """Return the single addresses; a comma or a space ends one where the next one begins."""
    return list(parse_urls(urls))  # type: ignore[no-untyped-call]  # as Apprise ships it
