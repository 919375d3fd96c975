"""What people would use instead, each as its users would write it, and ours, all asked the same.

Each side is a module here with a function `opened`, which takes a `Place` and opens a `Peer`. The classes that the
peers are written with say what each leaves out. All keep fifteen connections to the database, as ours does.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol, TypeAlias
from uuid import UUID

if TYPE_CHECKING:
    from benchmarks.people import Person  # what draws people takes a second to load, which is no side's start

CONNECTIONS = 15
"""How many connections to the database a side keeps open at most, as many as ours by default."""
PAGE = 50
SOMEBODY = UUID("018f0000-0000-7000-8000-000000000001")
"""Who made and changed everything, where nobody looks who asks."""
PACKAGES = {
    "ours": ("clarity", "SQLAlchemy", "asyncpg", "uvloop", "cryptography"),
    "raw": ("asyncpg",),
    "orm": ("SQLAlchemy",),
    "encrypted": ("SQLAlchemy-Utils",),
    "django": ("Django", "django-auditlog", "django-fernet-encrypted-fields", "psycopg"),
}
"""What each side is made of."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a side keeps its records: the database as it and as the owner of its tables reaches it, and a folder."""

    url: str = field(repr=False)
    owner_url: str = field(repr=False)
    folder: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of whole records, how many there are altogether, and what to ask for the next page by; "" is none."""

    items: Sequence[object]
    total: int
    next: str


class Peer(Protocol):
    """One side of a comparison, over one database on PostgreSQL.

    What `read` and `page` return is built whole: whoever has it needs no database any more, and nothing is sealed.
    """

    async def prepare(self) -> None:
        """Make the tables and the indexes."""

    async def load(self, people: Sequence[tuple[UUID, "Person"]]) -> None:
        """Copy people in by the quickest way there is, with their MRN and their social security number."""

    async def read(self, identity: UUID) -> object:
        """Return one patient with their identifiers."""

    async def page(self, after: str) -> Listed:
        """Return the next `PAGE` patients by id, behind where the last page ended; "" is the first page."""

    async def create(self, person: "Person", identity: UUID) -> None:
        """Store somebody new, with their MRN and their social security number, and commit."""

    async def update(self, identity: UUID, line: str) -> None:
        """Read a patient, let them move to another `line` of an address, and commit."""


Opened: TypeAlias = Callable[[Place], AbstractAsyncContextManager[Peer]]


def side_named(name: str) -> Opened:
    """Return what opens a side. "ours_without_sealing" is ours without one of its promises."""
    _, without, promise = name.partition("_without_")
    if without:
        return partial(import_module(f"{__name__}.without").opened, promise)
    opened: Opened = import_module(f"{__name__}.{name}").opened
    return opened


def is_there(name: str) -> bool:
    """Return whether a side can be opened: its module is there, and what it is made of is installed."""
    needs = {"encrypted": ("sqlalchemy_utils",), "django": ("django", "auditlog", "encrypted_fields", "psycopg")}
    modules = (f"{__name__}.{name}", *needs.get(name, ()))
    return all(find_spec(module) is not None for module in modules)
