"""The databases that the tests are given are real, empty, and nobody else's."""

import asyncpg
import pytest
from sqlalchemy import create_engine, inspect, text

from tests.postgres import PostgresServer


def _engine_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg2://")


@pytest.mark.parametrize("attempt", ["first", "second"])
def test_every_test_gets_an_empty_database(database_url: str, attempt: str) -> None:
    engine = create_engine(_engine_url(database_url))
    try:
        assert inspect(engine).get_table_names() == []
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE seen (attempt VARCHAR(10))"))
            connection.execute(text("INSERT INTO seen VALUES (:attempt)"), {"attempt": attempt})
            assert connection.execute(text("SELECT attempt FROM seen")).scalars().all() == [attempt]
    finally:
        engine.dispose()


async def test_a_copied_database_holds_what_its_template_held(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    template = await asyncpg.connect(postgres_url)
    await template.execute("CREATE TABLE rule (number integer); INSERT INTO rule VALUES (12)")
    await template.close()

    copied_url = postgres_server.create_database(template=postgres_url)
    copy = await asyncpg.connect(copied_url)
    try:
        assert await copy.fetchval("SELECT number FROM rule") == 12
        await copy.execute("DELETE FROM rule")
    finally:
        await copy.close()
        postgres_server.drop_database(copied_url)

    template = await asyncpg.connect(postgres_url)
    try:
        assert await template.fetchval("SELECT count(*) FROM rule") == 1
    finally:
        await template.close()
