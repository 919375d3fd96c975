"""What an operator does to a practice as a whole: its keys, its tables, what comes in, and whether all is well."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from uuid_utils.compat import uuid7

from clarity.application.imports import Inputs
from clarity.bootstrap import engine_options, now, open_keyring
from clarity.config import DatabaseAddress, Environment, Settings, load_settings
from clarity.domain.errors import CannotOpen, ClarityError, Misconfigured
from clarity.fhir.inputs import FhirInputs
from clarity.persistence import migrations
from clarity.persistence.inspection import Found, first_data_key, inspect, make_role
from clarity.persistence.roles import create_roles_sql
from clarity.security.keyring import initialise
from clarity.security.keystore import open_store
from clarity.security.roots import KeyRoot, open_root
from clarity.security.roots.file import FileRoot
from clarity.security.strength import StolenPasswords

__all__ = ["Environment", "Found", "Settings", "load_settings", "open_keyring"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysMade:
    """Where the keys are, for the operator who has to back them up. `root_is_new` is false for one that was there."""

    root: str
    root_id: str
    root_is_new: bool
    store: str


def make_keys(settings: Settings) -> KeysMade:
    """Make the key root, unless it is there, and the first key of every kind in the key store.

    Raises `Misconfigured` if the store has keys already: with a new root they could never be opened again.
    """
    scheme, _, path = settings.key_root.partition(":")
    store = open_store(settings.key_store)
    if store.load():
        raise Misconfigured(f"the key store {store.name} has keys already; they are never overwritten")
    for place in (Path(path), store.path):
        _make_private_folder(place.parent)
    root_is_new = scheme == "file" and not Path(path).exists()
    root: KeyRoot = FileRoot.create(Path(path)) if root_is_new else open_root(settings.key_root)
    initialise(store, root)
    return KeysMade(root=root.name, root_id=root.id, root_is_new=root_is_new, store=store.name)


def has_keys(settings: Settings) -> bool:
    """Tell whether the key store holds any."""
    return bool(open_store(settings.key_store).load())


def root_id(settings: Settings) -> str:
    """Return the fingerprint of the key root. Raises `Misconfigured` if it cannot be read."""
    return open_root(settings.key_root).id


def require_stolen_passwords(path: Path) -> None:
    """Raise `Misconfigured` unless the list of stolen passwords at `path` can be read."""
    StolenPasswords(path)


def sqlite_file(settings: Settings) -> Path | None:
    """Return the file that holds the database, if the application's database is a file."""
    return _file_of(settings.database)


async def migrate(settings: Settings, revision: str = "head") -> None:
    """Bring the tables to `revision`, and give the application's role what it needs."""
    options = engine_options(settings, settings.migration_database)
    await migrations.upgrade(options, revision, app_role=settings.db_app_role, trail_guard=settings.db_trail_guard)


def migration_sql(settings: Settings, revision: str = "head") -> str:
    """Return the statements that `migrate` would run on a database like the one of the settings."""
    dialect = settings.migration_database.dialect
    return migrations.sql(dialect, revision, app_role=settings.db_app_role, trail_guard=settings.db_trail_guard)


async def pending_migrations(settings: Settings, address: DatabaseAddress | None = None) -> list[str]:
    """Return the revisions the tables are behind, the next first: all of them if there is no database yet.

    Looks as the owner of the tables, or as who connects with `address`.
    """
    address = address or settings.migration_database
    file = _file_of(address)
    if file is not None and not file.exists():
        return migrations.revisions_after()
    return await migrations.pending(engine_options(settings, address))


async def create_role(settings: Settings) -> str:
    """Make the application's role and return "", or the statements an administrator has to run for that.

    Its password is the one of the application's own address, if that role stands there.
    """
    own = settings.database
    password = own.password if own.user == settings.db_app_role else ""
    made = await make_role(engine_options(settings, settings.migration_database), settings.db_app_role, password)
    return "" if made else create_roles_sql(settings.db_app_role)


async def look_at_database(settings: Settings) -> Found:
    """Connect as the application does and look around. Raises `Unavailable` if nobody answers."""
    return await inspect(engine_options(settings))


async def require_ready(settings: Settings) -> None:
    """Raise `Misconfigured` unless keys, tables and privileges are as they have to be to serve."""
    try:
        await require_practice(settings)
        looked = await look_at_database(settings)
        found = [*looked.problems, *looked.unstamped, *(looked.unguarded if settings.db_trail_guard else ())]
    except ClarityError:
        # What the settings alone say is wrong must not wait until keys and database are in order.
        settings.check_start()
        raise
    settings.check_start(found)


async def require_practice(settings: Settings) -> None:
    """Raise `Misconfigured` unless there are keys, tables of this version, and what is in these opens with those."""
    open_keyring(settings)
    # As the application, so that a server need not know how the owner connects.
    if await pending_migrations(settings, settings.database):
        raise Misconfigured("the tables are behind this version; run `clarity migrate`")
    await require_matching_keys(settings)


async def require_matching_keys(settings: Settings) -> None:
    """Raise `Misconfigured` if the database was written with other keys: nothing in it could be read any more.

    The oldest key is tried, since it stays what it was when a store was lost and another was made in its place.
    """
    wrapped = await first_data_key(engine_options(settings))
    try:
        if wrapped is not None:
            open_keyring(settings).unwrap(wrapped)
    except CannotOpen:
        store = open_store(settings.key_store).name
        raise Misconfigured(
            f"the database was written with other keys than those in the key store {store};"
            " restore the store, and its root, from their backups"
        ) from None


def fhir_inputs(paths: Iterable[Path], *, source: str, strict: bool) -> Inputs:
    """Return what an import reads from files of FHIR R4."""
    return FhirInputs(paths, system=source, new_id=uuid7, today=now().date(), strict=strict)


def _file_of(address: DatabaseAddress) -> Path | None:
    return Path(address.url.partition(":///")[2]) if address.dialect == "sqlite" else None


def _make_private_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise Misconfigured(f"the folder {folder} cannot be made: {exc.strerror}") from None
