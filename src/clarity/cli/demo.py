"""`clarity demo`: a made-up practice to develop and demonstrate with, from nothing to serving."""

import asyncio
import os
import secrets
import sys
from datetime import date, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from clarity.application.demo import DEMO_ACCOUNTS, PracticeGenerator
from clarity.application.services import Services
from clarity.cli.accounts import new_password
from clarity.cli.practice import in_practice, read_settings
from clarity.cli.serve import address_of, listen, run
from clarity.cli.terminal import note, progress, results
from clarity.domain.access import Role
from clarity.domain.errors import Misconfigured

if TYPE_CHECKING:
    from clarity.upkeep import Settings

_CREDENTIALS = "demo-credentials"
# So common in names that the clinician has patients with it, whatever the seed.
_FRAGMENT = "an"


def demo(
    *,
    patients: Annotated[int, typer.Option(min=1, max=10_000, help="How many patients there should be.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Which patients: the same seed makes up the same ones.")] = 1,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port to serve on; 0 takes a free one.")] = 8000,
    no_serve: Annotated[bool, typer.Option("--no-serve", help="Make the practice, and do not serve it.")] = False,
) -> None:
    """Make a practice of made-up patients, with an account for each role, and serve it on this machine.

    Makes what is missing and keeps what is there: keys, tables, practitioners, patients, accounts. A run that was
    interrupted is completed by the next. In development only: the passwords stand in a file, readable to you alone.
    """
    settings = read_settings()
    _require_development(settings)
    if no_serve:
        _make(settings, patients, seed, f"http://127.0.0.1:{port}", f"once `{_program()} serve --port {port}` runs")
        return
    # First the port: who runs this a second time beside the first should learn so at once.
    with listen("127.0.0.1", port) as listening:
        _make(settings, patients, seed, address_of(listening), "in another terminal")
        run(settings, listening)


def _require_development(settings: "Settings") -> None:
    from clarity.upkeep import Environment

    if settings.environment is not Environment.DEVELOPMENT:
        raise Misconfigured(f"made-up patients are for development, and ENVIRONMENT is {settings.environment}")


def _make(settings: "Settings", patients: int, seed: int, address: str, whence: str) -> None:
    _prepare(settings)
    passwords = in_practice(settings, lambda services: _fill(settings, services, patients, seed))
    _introduce(settings, passwords, address, patients, whence)


def _prepare(settings: "Settings") -> None:
    """Make keys and tables, unless they are there."""
    from clarity import upkeep

    if not upkeep.has_keys(settings):
        database = upkeep.sqlite_file(settings)
        if database is not None and database.exists():
            raise Misconfigured(
                f"there is a database {database} and no key store; put the key store back, or move the database away"
                " to begin anew"
            )
        made = upkeep.make_keys(settings)
        note(f"Made the key root {made.root} and the key store {made.store}.")
    if pending := asyncio.run(upkeep.pending_migrations(settings)):
        asyncio.run(upkeep.migrate(settings))
        note(f"Made the tables ({pending[-1]}).")


async def _fill(settings: "Settings", services: Services, patients: int, seed: int) -> dict[str, str]:
    """Add the people and accounts that are missing; return the password of each account."""
    from clarity.bootstrap import operator, today

    with progress("Patients") as advance:
        added = await services.demo.fill(
            operator(), lambda: _make_up(seed, today(settings), settings.practice_time_zone), patients, progress=advance
        )
    if added:
        note(f"Made up {added} patients (seed {seed}).")
    file = settings.data_dir / _CREDENTIALS
    known = _read_credentials(file)
    passwords = {account.email: known.get(account.email) or new_password() for account in DEMO_ACCOUNTS}
    unknown = frozenset(passwords.keys() - known.keys())
    with progress("Accounts") as advance:
        await services.demo.open_accounts(operator(), passwords, unknown=unknown, progress=advance)
    if unknown:
        # Only now: a file that is there says that its passwords are those of the accounts.
        _write_private(file, "".join(f"{email}\t{password}\n" for email, password in passwords.items()))
    return passwords


def _make_up(seed: int, today: date, zone: tzinfo) -> PracticeGenerator:
    try:
        from clarity.demo.practice import SyntheticPractice
    except ModuleNotFoundError:
        raise Misconfigured("made-up names need the package Faker; install clarity[demo]") from None
    return SyntheticPractice(seed, today, zone)


def _read_credentials(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.partition("\t") for line in lines)
    return {email: password for email, tab, password in pairs if tab and password}


def _write_private(file: Path, content: str) -> None:
    """Put a file for its owner alone in the place of whatever is there; a crash leaves the old one or the new one."""
    fresh = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        fresh.replace(file)
    except OSError as exc:
        raise Misconfigured(f"the passwords cannot be kept in {file}: {exc.strerror}") from None


def _introduce(settings: "Settings", passwords: dict[str, str], address: str, patients: int, whence: str) -> None:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for title in ("Role", "E-mail", "Password"):
        table.add_column(title, no_wrap=True)
    for account in DEMO_ACCOUNTS:
        table.add_row(account.role.title, account.email, passwords[account.email])
    clinician = next(account.email for account in DEMO_ACCOUNTS if account.role is Role.CLINICIAN)
    printer = results()
    printer.print(
        f"\nA practice of {patients} patients who do not exist, at {address}/api/v1 (see {address}/openapi.json)"
    )
    printer.print(f"Log in as (also in {settings.data_dir / _CREDENTIALS}, for development only):")
    printer.print(table)
    printer.print(f"Three commands to try, {whence}:\n", soft_wrap=True)
    for command in _commands(address, clinician, passwords[clinician]):
        printer.print(command, soft_wrap=True)
        printer.print()


def _commands(address: str, email: str, password: str) -> tuple[str, str, str]:
    """Return how the clinician logs in and searches over HTTP, and finds somebody at the command line."""
    post = f"curl -s {address}/api/v1"
    json = "-H 'Content-Type: application/json'"
    pick = "python3 -c 'import json, sys; print(json.load(sys.stdin)[\"access_token\"])'"
    return (
        f'TOKEN=$({post}/sessions {json} -d \'{{"email": "{email}", "password": "{password}"}}\' | {pick})',
        f'{post}/patients/search {json} -H "Authorization: Bearer $TOKEN" -d \'{{"name": "{_FRAGMENT}"}}\'',
        f"{_program()} patient find {_FRAGMENT} --as {email}",
    )


def _program() -> str:
    """Return how this program was called, so that it can be called again."""
    called = Path(sys.argv[0])
    return f"{sys.executable} -m clarity" if called.name == "__main__.py" else str(called)
