"""A channel for notices that remembers what it was told."""

from queue import Queue

from core.ports import Notice

WITHIN_S = 60.0


class Told:
    """A notifier; `wait` returns what it was told, one by one."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self._came: Queue[Notice] = Queue()

    def notify(self, notice: Notice) -> None:
        """Remember a notice."""
        self.titles.append(notice.title)
        self._came.put(notice)

    def wait(self) -> Notice:
        """Block until a notice has come that was not waited for before, and return it."""
        return self._came.get(timeout=WITHIN_S)
