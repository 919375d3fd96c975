"""The command line on PostgreSQL: from an empty database to a search, each role doing its part."""

import asyncio
import json
import secrets
from collections.abc import Iterator

import pytest
from sqlalchemy import make_url

from clarity.cli.endings import Status
from tests.servers import PostgresDatabases
from tests.shells import PASSWORD, Terminal


@pytest.fixture
def role(postgres: PostgresDatabases) -> Iterator[str]:
    """Return the name of a role that does not exist yet, and drop it in the end."""
    name = f"clarity_cli_{secrets.token_hex(4)}"
    yield name
    asyncio.run(postgres.create(template="template0"))  # which drops the database that depends on the role
    asyncio.run(postgres.run(f"DROP ROLE IF EXISTS {name}"))


@pytest.fixture
def server(terminal: Terminal, postgres: PostgresDatabases, role: str) -> Terminal:
    """Return a shell whose settings name an empty database."""
    name = asyncio.run(postgres.create(template="template0"))
    owner = make_url(postgres.owner_of(name).url)
    application = owner.set(username=role, password="ferns")
    terminal.set(
        migration_database_uri=owner.render_as_string(hide_password=False),
        async_database_uri=application.render_as_string(hide_password=False),
        db_app_role=role,
    )
    return terminal


def test_roles_tables_and_people_come_into_being(server: Terminal, role: str) -> None:
    assert server.run("keys", "init").status == Status.OK
    made = server.run("migrate", "--create-roles")
    assert made.status == Status.OK
    assert role in made.err
    assert server.run("migrate", "--check").status == Status.OK
    well = server.run("doctor")
    assert well.status == Status.OK
    assert f"as {role}" in well.out
    assert "warn" not in well.out
    assert server.run("demo", "--no-serve", "--patients", "20").status == Status.OK
    add = ("account", "add", "desk@example.org", "--role", "front-desk", "--name", "Desk")
    assert server.run(*add, typed=PASSWORD).status == Status.OK
    found = server.run("patient", "find", "--as", "desk@example.org", "--json", typed=PASSWORD)
    assert len(json.loads(found.out)["items"]) == 19
    assert not (server.data / "clarity.db").exists()


def test_one_who_may_not_make_roles_is_told_what_to_run(server: Terminal, postgres: PostgresDatabases) -> None:
    modest = make_url(postgres.application_of("postgres").url)
    server.set(migration_database_uri=modest.render_as_string(hide_password=False))
    ran = server.run("migrate", "--create-roles")
    assert ran.status == Status.REFUSED
    assert ran.out.startswith("CREATE ROLE")
    assert "PASSWORD '" not in ran.out


def test_connecting_as_the_owner_is_not_well(server: Terminal, postgres: PostgresDatabases) -> None:
    server.run("keys", "init")
    server.run("migrate")
    name = make_url(postgres.server.url).username
    server.set(async_database_uri=server.setting("migration_database_uri"))
    ran = server.run("doctor")
    assert ran.status == Status.OK
    assert "warn" in ran.out
    assert f"the role {name} is a superuser" in " ".join(ran.out.split())


def test_a_server_that_does_not_answer_is_said_in_one_line(server: Terminal) -> None:
    server.run("keys", "init")
    server.run("migrate")
    server.set(async_database_uri="postgresql://clarity@127.0.0.1:1/clarity")
    ran = server.run("account", "list")
    assert ran.status == Status.UNAVAILABLE
    assert ran.err.count("\n") == 1
