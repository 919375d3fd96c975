"""`clarity doctor`: whether all is well, and what to do where it is not."""

import asyncio
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from clarity.cli.endings import Status
from clarity.cli.practice import read_settings
from clarity.cli.terminal import note, results
from clarity.domain.access import POLICY
from clarity.domain.errors import ClarityError, Misconfigured

if TYPE_CHECKING:
    from clarity.upkeep import Found, Settings

_LOW_DISK_BYTES = 1 << 30
_FULL_DISK_BYTES = 100 << 20
# The trail is read in order of time. What happens in two places within this much cannot be told apart anyway.
_CLOCK_TOLERANCE = timedelta(seconds=2)


class Verdict(StrEnum):
    """How something was found."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


_STYLES = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: how it is, and what to do unless it is well."""

    what: str
    verdict: Verdict
    how: str


def doctor() -> None:
    """Look at settings, keys, database, tables, privileges, disk and clock, and say what to do where one is not well.

    Changes nothing, and leaves nothing out because something else is broken. The exit status is 1 if anything failed.
    """
    findings = list(_examine())
    results().print(_table(findings))
    failed = sum(finding.verdict is Verdict.FAIL for finding in findings)
    if failed:
        note(f"{failed} of {len(findings)} {'is' if failed == 1 else 'are'} not well.")
        raise typer.Exit(Status.REFUSED)
    note("All is well." if all(one.verdict is Verdict.OK for one in findings) else "Nothing failed.")


def _examine() -> Iterator[Finding]:
    try:
        settings = read_settings()
    except Misconfigured as exc:
        yield Finding("settings", Verdict.FAIL, str(exc))
        return
    checks: tuple[tuple[str, Callable[[Settings], Iterator[Finding]]], ...] = (
        ("settings", _settings),
        ("policy", _policy),
        ("data folder", _data_folder),
        ("keys", _keys),
        ("database", _database),
        ("tables", _tables),
        ("keys of the database", _keys_of_the_database),
        ("time zone", _time_zone),
        ("stolen passwords", _stolen_passwords),
        ("disk", _disk),
    )
    for what, check in checks:
        try:
            yield from check(settings)
        except ClarityError as exc:
            yield Finding(what, Verdict.FAIL, str(exc))
        except Exception as exc:  # what nobody foresaw must not hide the other findings
            yield Finding(what, Verdict.FAIL, f"could not be looked at ({type(exc).__name__})")


def _settings(settings: "Settings") -> Iterator[Finding]:
    settings.check_start()
    yield Finding("settings", Verdict.OK, f"{settings.environment}")


def _policy(_: "Settings") -> Iterator[Finding]:
    POLICY.require_complete()
    yield Finding("policy", Verdict.OK, "every role and every kind of record was thought of")


def _data_folder(settings: "Settings") -> Iterator[Finding]:
    folder = settings.data_dir
    if folder.is_dir():
        yield _private("data folder", folder)


def _keys(settings: "Settings") -> Iterator[Finding]:
    from clarity import upkeep

    root = upkeep.root_id(settings)
    yield Finding("key root", Verdict.OK, f"fingerprint {root}")
    upkeep.open_keyring(settings)
    yield Finding("key store", Verdict.OK, f"opens with root {root}")
    places = {Path(place.partition(":")[2]).resolve().parent for place in (settings.key_root, settings.key_store)}
    if len(places) == 1 and settings.environment is not upkeep.Environment.DEVELOPMENT:
        yield Finding("keys apart", Verdict.WARN, "root and store are in one folder; keep and back them up apart")


def _stolen_passwords(settings: "Settings") -> Iterator[Finding]:
    from clarity import upkeep

    if settings.stolen_passwords is not None:
        upkeep.require_stolen_passwords(settings.stolen_passwords)
        yield Finding("stolen passwords", Verdict.OK, f"{settings.stolen_passwords}")
    elif settings.environment is not upkeep.Environment.DEVELOPMENT:
        how = "STOLEN_PASSWORDS names no list, so passwords found in breaches may be chosen"
        yield Finding("stolen passwords", Verdict.WARN, how)


def _database(settings: "Settings") -> Iterator[Finding]:
    from clarity import upkeep

    file = upkeep.sqlite_file(settings)
    if file is not None:
        if not file.exists():
            yield Finding("database", Verdict.FAIL, f"there is no file {file}; run `clarity migrate`")
            return
        yield _private("database file", file)
    found = asyncio.run(upkeep.look_at_database(settings))
    role = f" as {found.role}" if found.role else ""
    yield Finding("database", Verdict.OK, f"{found.server}{role}")
    yield from _privileges(settings, found)
    yield from _stamps(settings, found)
    if file is None:
        yield from _trail_guard(settings, found)
        yield _transport(settings, found)
        yield _clock(found)


def _privileges(settings: "Settings", found: "Found") -> Iterator[Finding]:
    from clarity.upkeep import Environment

    what = "privileges" if found.role else "append-only trail"
    if not found.problems:
        yield Finding(what, Verdict.OK, "the trail can be added to, and neither changed nor cut")
    # On PostgreSQL a developer may well connect as the owner; on SQLite a trigger that is gone was removed.
    lenient = found.role and settings.environment is Environment.DEVELOPMENT
    for problem in found.problems:
        yield Finding(what, Verdict.WARN if lenient else Verdict.FAIL, problem)


def _stamps(settings: "Settings", found: "Found") -> Iterator[Finding]:
    from clarity import upkeep

    if not found.unstamped:
        yield Finding("changes", Verdict.OK, "every change of a patient is stamped, so that searches learn of it")
    elif not asyncio.run(upkeep.pending_migrations(settings)):  # or they will come with the tables
        yield from (Finding("changes", Verdict.FAIL, problem) for problem in found.unstamped)


def _trail_guard(settings: "Settings", found: "Found") -> Iterator[Finding]:
    from clarity.upkeep import Environment

    what = "trail guard"
    if not found.unguarded:
        yield Finding(what, Verdict.OK, "nothing of a patient is changed without an event of the same transaction")
    elif not settings.db_trail_guard:
        how = "off, as DB_TRAIL_GUARD says; the application alone sees to it that what is changed has its event"
        yield Finding(what, Verdict.WARN, how)
    else:
        lenient = settings.environment is Environment.DEVELOPMENT
        for problem in found.unguarded:
            yield Finding(what, Verdict.WARN if lenient else Verdict.FAIL, problem)


def _transport(settings: "Settings", found: "Found") -> Finding:
    from clarity.upkeep import Environment

    address = settings.database
    if address.verified:  # or there would be no connection
        if found.tls:
            return Finding("transport", Verdict.OK, "TLS, and the server proved who it is")
        how = "TLS, and who answers proved who it is, but the server is reached without: see to the way from there"
        return Finding("transport", Verdict.WARN, how)
    if not address.over_network:
        return Finding("transport", Verdict.OK, "a socket of this machine")
    lenient = settings.environment is Environment.DEVELOPMENT
    how = "TLS, but nothing proves who answers" if found.tls else "no TLS"
    return Finding("transport", Verdict.WARN if lenient else Verdict.FAIL, f"{how}; connect with sslmode=verify-full")


def _clock(found: "Found") -> Finding:
    apart = abs(found.clock - datetime.now(UTC))
    if apart > _CLOCK_TOLERANCE:
        return Finding(
            "clock", Verdict.FAIL, f"{apart.total_seconds():.0f} s apart from the database; synchronise both"
        )
    return Finding("clock", Verdict.OK, "agrees with the database")


def _tables(settings: "Settings") -> Iterator[Finding]:
    from clarity import upkeep

    if pending := asyncio.run(upkeep.pending_migrations(settings)):
        yield Finding(
            "tables",
            Verdict.FAIL,
            f"{len(pending)} {'revision' if len(pending) == 1 else 'revisions'} behind; run `clarity migrate`",
        )
    else:
        yield Finding("tables", Verdict.OK, "up to date")


def _keys_of_the_database(settings: "Settings") -> Iterator[Finding]:
    from clarity import upkeep

    try:
        upkeep.open_keyring(settings)
        behind = asyncio.run(upkeep.pending_migrations(settings))
    except ClarityError:
        return  # which was found before
    if not behind:
        asyncio.run(upkeep.require_matching_keys(settings))
        yield Finding("keys of the database", Verdict.OK, "open with the key store")


def _time_zone(settings: "Settings") -> Iterator[Finding]:
    today = datetime.now(settings.practice_time_zone)
    yield Finding("time zone", Verdict.OK, f"{settings.practice_time_zone}, where it is {today:%Y-%m-%d %H:%M}")


def _disk(settings: "Settings") -> Iterator[Finding]:
    folder = settings.data_dir if settings.data_dir.is_dir() else Path()
    free = shutil.disk_usage(folder).free
    verdict = Verdict.FAIL if free < _FULL_DISK_BYTES else Verdict.WARN if free < _LOW_DISK_BYTES else Verdict.OK
    advice = "" if verdict is Verdict.OK else "; make room"
    yield Finding("disk", verdict, f"{free / (1 << 30):,.1f} GiB free{advice}")


def _private(what: str, path: Path) -> Finding:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return Finding(what, Verdict.FAIL, f"{path} is open to others (mode {mode:04o}); `chmod go= {path}`")
    return Finding(what, Verdict.OK, f"{path}, for its owner alone")


def _table(findings: list[Finding]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for title in ("", "Looked at", "Found"):
        table.add_column(title, overflow="fold")
    for finding in findings:
        table.add_row(Text(finding.verdict, _STYLES[finding.verdict]), finding.what, finding.how)
    return table
