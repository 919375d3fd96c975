"""Django's ORM with encrypted fields and an audit log, asked by threads, as Django is written for.

It decides nothing and keeps no history; what it notes in its log and how it encrypts stands in
`django_project/models.py`. Each thread keeps its connection to the database.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from threading import Barrier
from typing import Any, TypeVar
from uuid import UUID

import django
from django.core.management import call_command
from django.db import connections

from benchmarks.peers import CONNECTIONS, PAGE, Listed, Place
from benchmarks.peers.orm import content_of
from benchmarks.people import Person
from clarity.domain.access import OPERATOR

PROJECT = "benchmarks.peers.django_project"
_LOADED_AT_ONCE = 1_000
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class DjangoPeer:
    """One side, by the `records` of the project, which can be imported only when it is set up."""

    threads: ThreadPoolExecutor
    records: Any

    async def prepare(self) -> None:
        await self._do(partial(call_command, "migrate", run_syncdb=True, verbosity=0))

    async def load(self, people: Sequence[tuple[UUID, Person]]) -> None:
        for first in range(0, len(people), _LOADED_AT_ONCE):
            some = [(_fields(*one), _numbers(one[1])) for one in people[first : first + _LOADED_AT_ONCE]]
            await self._do(partial(self.records.stored, some))

    async def read(self, identity: UUID) -> object:
        return await self._do(partial(self.records.viewed, identity))

    async def page(self, after: str) -> Listed:
        items, total = await self._do(partial(self.records.listed, after))
        return Listed(items, total, str(items[-1].pk) if len(items) == PAGE else "")

    async def create(self, person: Person, identity: UUID) -> None:
        await self._do(partial(self.records.registered, _fields(identity, person), _numbers(person)))

    async def update(self, identity: UUID, line: str) -> None:
        await self._do(partial(self.records.moved, identity, line))

    async def _do(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)


def _fields(identity: UUID, person: Person) -> Mapping[str, object]:
    return {"id": identity, **content_of(person), "created_by": OPERATOR, "updated_by": OPERATOR}


def _numbers(person: Person) -> list[dict[str, str]]:
    return [{"kind": "mrn", "value": person.mrn}, {"kind": "ssn", "value": person.ssn}]


@asynccontextmanager
async def opened(place: Place) -> AsyncIterator[DjangoPeer]:
    """Open this side. A process opens it once, since Django is set up once."""
    os.environ["BENCHMARK_DATABASE_URL"] = place.owner_url
    os.environ["DJANGO_SETTINGS_MODULE"] = f"{PROJECT}.settings"
    django.setup()
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        try:
            yield DjangoPeer(threads, import_module(f"{PROJECT}.records"))
        finally:
            # Each thread closes its own: nobody goes on before all are here.
            here = Barrier(CONNECTIONS)
            for _ in range(CONNECTIONS):
                threads.submit(_close, here)


def _close(here: Barrier) -> None:
    here.wait()
    connections.close_all()
