"""Where notices go, as the settings say."""

from config import Settings
from core.clients.notices import Silence
from core.ports import Notifier


def make_notifier(settings: Settings) -> Notifier:
    """Return what delivers notices to people; there is no channel yet."""
    return Silence()
