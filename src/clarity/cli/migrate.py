"""`clarity migrate`: the tables, from one form to the next."""

import asyncio
from typing import Annotated

import typer

from clarity.cli.endings import Status
from clarity.cli.practice import read_settings
from clarity.cli.terminal import note


def migrate(
    *,
    revision: Annotated[
        str, typer.Argument(help="The revision to go up to. With --sql also OLD:NEW, to begin at a revision.")
    ] = "head",
    sql: Annotated[
        bool, typer.Option("--sql", help="Print the statements instead, for somebody who runs them by hand.")
    ] = False,
    create_roles: Annotated[
        bool,
        typer.Option(
            "--create-roles", help="First make the role DB_APP_ROLE on PostgreSQL, or print the SQL that makes it."
        ),
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit with 1 and list them if revisions are pending.")
    ] = False,
) -> None:
    """Bring the tables up to date. Connects as MIGRATION_DATABASE_URI says, all or nothing; again changes nothing."""
    from clarity import upkeep

    settings = read_settings()
    if sql:
        typer.echo(upkeep.migration_sql(settings, revision), nl=False)
        return
    if check:
        _check(asyncio.run(upkeep.pending_migrations(settings)))
        return
    settings.check_migration()
    if create_roles:
        _report_role(settings.db_app_role, asyncio.run(upkeep.create_role(settings)))
    before = asyncio.run(upkeep.pending_migrations(settings))
    asyncio.run(upkeep.migrate(settings, revision))
    done = len(before) - len(asyncio.run(upkeep.pending_migrations(settings)))
    note(f"Brought the tables {done} {'step' if done == 1 else 'steps'} forward." if done else "Nothing was pending.")


def _check(pending: list[str]) -> None:
    for revision in pending:
        typer.echo(revision)
    if pending:
        note("The tables are behind; run `clarity migrate`.")
        raise typer.Exit(Status.REFUSED)
    note("Nothing is pending.")


def _report_role(role: str, statements: str) -> None:
    if not statements:
        note(f"There is a role {role}.")
        return
    typer.echo(statements)
    note(f"You may not make the role {role}: have an administrator run the statements above, then migrate again.")
    raise typer.Exit(Status.REFUSED)
