"""The composition root: settings become adapters, adapters become services. Here, and nowhere else, they meet."""

import getpass
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from uuid_utils.compat import uuid7

from clarity.application.accounts import AccountService
from clarity.application.imports import ImportService
from clarity.application.patients import PatientService
from clarity.application.ports import RateLimit, Trail
from clarity.application.practitioners import PractitionerService
from clarity.application.services import Services
from clarity.application.sessions import SessionService
from clarity.audit.encoding import Notary
from clarity.audit.trail import GroupCommitTrail
from clarity.config import Settings
from clarity.domain.access import OPERATOR, Actor, Purpose, Role
from clarity.domain.ids import RequestId
from clarity.persistence.audit import SqlEventStore
from clarity.persistence.engine import Database
from clarity.persistence.types import use_system_seal
from clarity.persistence.unit_of_work import Tools, UnitsOfWork
from clarity.search.streaming import StreamingSearch
from clarity.security.blind_index import BlindIndex
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from clarity.security.keystore import FileKeyStore
from clarity.security.macs import AuditKeys
from clarity.security.roots import open_root


@dataclass(frozen=True, slots=True, kw_only=True)
class Practice:
    """What one practice decides for itself."""

    time_zone: ZoneInfo = ZoneInfo("UTC")
    region: str = "US"
    access_token_ttl_seconds: int = 600
    session_ttl: timedelta = timedelta(hours=12)


def now() -> datetime:
    """Return the present instant, in UTC."""
    return datetime.now(UTC)


def operator() -> Actor:
    """Return the system actor behind the command line, with the operating-system user's name."""
    return Actor(
        id=OPERATOR,
        role=Role.SYSTEM,
        request=RequestId(uuid7()),
        purpose=Purpose.SYSTEM_ADMINISTRATION,
        operator=re.sub(r"[^A-Za-z0-9._$-]", "_", getpass.getuser())[:32],
    )


def units_of_work(database: Database, keyring: Keyring, trail: Trail, region: str = "US") -> UnitsOfWork:
    """Return the units of work over one database. From here on its encrypted columns open with `keyring`."""
    for dialect in database.dialects:
        use_system_seal(dialect, keyring.system_vault())
    keys = AuditKeys(keyring)
    tools = Tools.of(
        keys=keyring,
        index=BlindIndex(keyring, region),
        new_id=uuid7,
        certify=Notary(keys.mac).certify,
        query_mac=keys.query_mac,
    )
    return UnitsOfWork(database, trail, tools)


@asynccontextmanager
async def opened_trail(database: Database, keyring: Keyring) -> AsyncIterator[GroupCommitTrail]:
    """Open the audit trail over a connection of its own; at the end what waits is written."""
    store = SqlEventStore(database.trail_connection, database.turn, database.dialect_name)
    trail = GroupCommitTrail(store, Notary(AuditKeys(keyring).mac).certify)
    try:
        yield trail
    finally:
        await trail.aclose()
