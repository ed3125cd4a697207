"""Every SQL statement, by name. Synchronous and asynchronous code share them.

Rows are locked where a statement says so; SQLite ignores that, because a writing transaction of
ours has the whole database. Executed with a list of parameters, an insert or update of rows is
executed once for each.
"""

from core.queries import (
    account,
    alarms,
    alerts,
    cycles,
    history,
    leases,
    operator,
    panel,
    rules,
)

__all__ = [
    "account",
    "alarms",
    "alerts",
    "cycles",
    "history",
    "leases",
    "operator",
    "panel",
    "rules",
]
