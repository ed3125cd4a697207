"""The migrations make what the models say, on both databases, and can be taken back."""

import os
import subprocess
import sys

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, inspect
from sqlmodel import SQLModel

from core import models
from core.clients import db_sync
from tests.integration.store_worlds import ROOT, alembic_config, migrate

TABLES = {str(table) for table in SQLModel.metadata.tables}
UNIQUE_WHERE = {  # partial unique indexes, which say what must never happen
    ("alarm", "ux_alarm_raised"),
    ("alarm", "ux_alarm_raised_alone"),
    ("cycle", "ux_cycle_open_symbol"),
    ("fill", "ux_fill_symbol_trade"),
    ("order", "ux_order_client_id"),
    ("webhook", "ux_webhook_accepted_alert"),
}

AT = "'2026-11-22 00:00:00+00:00'"
OLD_ALARMS = (
    f"""INSERT INTO webhook (id, status, outcome, warnings, payload, received_at)
    VALUES (1, 'accepted', '', '[]', '{{}}', {AT})""",
    f"""INSERT INTO cycle (id, webhook_id, key, symbol, phase, deposit, extramarg, leverage,
    realised, commissions, funding, net_pnl, state, version, journal_length, opened_at, changed_at)
    VALUES (1, 1, 'k1', 'BTCUSDT', 'trading', '1', '0', 1,
    '0', '0', '0', '0', '', 0, 0, {AT}, {AT})""",
    f"""INSERT INTO alarm (id, cycle_id, symbol, key, text, raised_at)
    VALUES (1, 1, 'BTCUSDT', 'margin-1', 'why', {AT}),
    (2, 1, 'BTCUSDT', 'margin-2', 'why', {AT})""",
)


def tables_of(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def test_upgrade_makes_what_the_models_say(migrated_url: str) -> None:
    engine = db_sync.make_engine(migrated_url)
    try:
        assert models.Cycle.__tablename__ in TABLES
        assert tables_of(engine) == TABLES | {"alembic_version"}
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, SQLModel.metadata) == []
    finally:
        engine.dispose()


def test_a_difference_would_be_seen(migrated_url: str) -> None:
    engine = db_sync.make_engine(migrated_url)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE fill ADD COLUMN surprise INTEGER")
            connection.exec_driver_sql("DROP INDEX ux_cycle_open_symbol")
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            kinds = {difference[0] for difference in compare_metadata(context, SQLModel.metadata)}
            assert kinds == {"add_index", "remove_column"}
    finally:
        engine.dispose()


def test_the_partial_indexes_are_partial(migrated_url: str) -> None:
    engine = db_sync.make_engine(migrated_url)
    try:
        found = {
            (table, str(index["name"]))
            for table in TABLES
            for index in inspect(engine).get_indexes(table)
            if index["unique"] and index["dialect_options"].get(f"{engine.name}_where") is not None
        }
        assert found == UNIQUE_WHERE
    finally:
        engine.dispose()


def test_everything_can_be_taken_back_and_made_again(migrated_url: str) -> None:
    engine = db_sync.make_engine(migrated_url)
    try:
        command.downgrade(alembic_config(migrated_url), "base")
        assert tables_of(engine) == {"alembic_version"}
        migrate(migrated_url)
        migrate(migrated_url)  # once more does nothing
        assert tables_of(engine) == TABLES | {"alembic_version"}
    finally:
        engine.dispose()


def test_people_migrate_by_command_line(database_url: str) -> None:
    """The settings say which database; an argument goes before them, see below."""
    done = subprocess.run(  # our own command line
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=ROOT,
        env=os.environ | {"DB_CONNECTION_STR": database_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    engine = db_sync.make_engine(database_url)
    try:
        assert tables_of(engine) == TABLES | {"alembic_version"}
    finally:
        engine.dispose()


def test_two_at_once_do_not_collide(database_url: str) -> None:
    """Every process of ours may migrate when it starts."""
    migrations = [
        subprocess.Popen(  # our own command line
            [sys.executable, "-m", "alembic", "-x", f"url={database_url}", "upgrade", "head"],
            cwd=ROOT,
            env=os.environ | {"DB_CONNECTION_STR": "sqlite:///never.db"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [migration.communicate(timeout=60)[1] for migration in migrations]
    assert [migration.returncode for migration in migrations] == [0, 0], said
    engine = db_sync.make_engine(database_url)
    try:
        assert tables_of(engine) == TABLES | {"alembic_version"}
    finally:
        engine.dispose()


def alarm_rows(engine: Engine) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT * FROM alarm ORDER BY id").mappings()
        names = ("id", "cycle_id", "key", "kind", "severity", "text", "count", "cleared_at")
        return [tuple(row[name] for name in names if name in row) for row in found]


def test_alarms_of_an_earlier_version_are_kept_both_ways(database_url: str) -> None:
    command.upgrade(alembic_config(database_url), "0002")
    engine = db_sync.make_engine(database_url)
    try:
        with engine.begin() as connection:
            for statement in OLD_ALARMS:
                connection.exec_driver_sql(statement)
        old = alarm_rows(engine)
        assert old == [(1, 1, "margin-1", "why", None), (2, 1, "margin-2", "why", None)]
        migrate(database_url)
        assert alarm_rows(engine) == [
            (1, 1, "margin-1", "warning", "why", 1, None),
            (2, 1, "margin-2", "warning", "why", 1, None),
        ]
        command.downgrade(alembic_config(database_url), "0002")
        assert alarm_rows(engine) == old
    finally:
        engine.dispose()


def test_the_kill_switch_is_there_and_off(migrated_url: str) -> None:
    engine = db_sync.make_engine(migrated_url)
    try:
        with engine.connect() as connection:
            switch = connection.exec_driver_sql("SELECT id, killed_at FROM trading_switch").all()
        assert [tuple(row) for row in switch] == [(1, None)]
    finally:
        engine.dispose()
