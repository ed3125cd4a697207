"""Where notices go, as the settings say."""

from zoneinfo import ZoneInfo

from config import Settings
from core.clients.notices import Notices
from core.logging_setup import Redaction, secret_texts
from core.notice_rules import NoticeRules
from core.ports import Notifier


def make_notices(settings: Settings) -> Notices:
    """Return what hands notices to people; without NOTIFY_URLS to nobody."""
    rules = NoticeRules(
        level=settings.notify_level,
        quiet=settings.notify_quiet_hours,
        zone=ZoneInfo(settings.notify_timezone),
    )
    return Notices(make_notifiers(settings), rules)


def make_notifiers(settings: Settings) -> tuple[Notifier, ...]:
    """Return the channel of each address."""
    if settings.notify_urls is None:
        return ()
    # Not at the top: without an address nobody waits until it is imported.
    from core.clients.notice_channels import open_channels

    redaction = Redaction(secret_texts(settings))
    return open_channels(settings.notify_urls.get_secret_value(), redaction.hide)
