"""What a thief of a snapshot reads of names, without any key: of tokens of trigrams, and of what we store.

    python -m benchmarks.leakage [--quick] [--json] [--patients 2000] [--seed N]

The thief (`benchmarks/thief.py`) knows how names are distributed: the very tables that the names were drawn from. The
same attack is made on two stores of the same patients:

- a store with an index of trigrams as people build it: for each patient the set of the HMACs of the trigrams of their
  name. `token_index_names_read` is the share of patients whose whole name the thief states, and rightly;
- our database, after searches too: of every row of every table that names a patient, the value of every column is a
  token, with the name of the column. Of ciphertext it is the length, of instants also the minute and the day; of the
  events of the trail, which everybody can decode, also each of their fields, the HMAC of what was asked among them.
  `names_read` is the same share, the greatest of attacks on all columns together and on each alone.

The attack is not blind: what it reads of the first store, in the same run, shows it. Exits with 1 if it reads a name of
ours, or of the tokens less than a quarter.
"""

import asyncio
import hmac
import logging
import sys
import tempfile
from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from secrets import token_bytes
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from benchmarks.comparing import PAGE, desk
from benchmarks.driver import Connection, connected
from benchmarks.fragments import Fragment, fragments_among
from benchmarks.loading import Practice, Writer, copy_rows
from benchmarks.measuring import Bound, arguments, machine, said, say, told
from benchmarks.people import FAMILY, GIVEN, SEED, People
from benchmarks.thief import CERTAIN, Distribution, Name, Thief, trigrams_of
from clarity.audit.encoding import decode
from clarity.bootstrap import running
from clarity.domain.ids import PatientId
from clarity.domain.names import fold
from clarity.domain.patients import PatientQuery
from clarity.persistence.audit import AuditEventRow
from clarity.persistence.trail_guard import MIGRATING
from clarity.upkeep import make_keys
from tests.servers import PostgresDatabases, postgres_server

BOUNDS = {"token_index_names_read": Bound(at_least=0.25), "names_read": Bound(at_most=0.0)}
_QUICK_PATIENTS, _QUICK_SEARCHES, _QUICK_ATTACKS = 200, 4, 2
_IN_A_TRANSACTION = 50
# Ciphertext: of a value under a key that is not there, only the length can be a token.
_SEALED = frozenset({"sealed", "wrapped"})
_FEWEST_VALUES = 8

Tokens = Sequence[frozenset[bytes]]


def known_names() -> Distribution:
    """Return the distribution that names are drawn from."""
    given, family = ([fold(name) for name in table.names] for table in (GIVEN, FAMILY))
    return Distribution(given, GIVEN.shares, family, FAMILY.shares)


def token_store(names: Iterable[Name], key: bytes) -> Tokens:
    """Return what an index of trigrams would hold of each patient."""
    return [
        frozenset(hmac.digest(key, gram.encode(), "sha256")[:8] for gram in trigrams_of(" ".join(name)))
        for name in names
    ]


def read(stated: Sequence[Name | None], names: Sequence[Name]) -> dict[str, float]:
    """Return which share of the names was stated, and which share rightly."""
    right = sum(said == name for said, name in zip(stated, names, strict=True))
    return {
        "stated": round(sum(said is not None for said in stated) / len(names), 4),
        "read": round(right / len(names), 4),
    }


async def our_tokens(people: People, searched: Sequence[Fragment]) -> list[Mapping[str, frozenset[bytes]]]:
    """Return what a database of ours has of each patient, by table and column."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clarity-leakage-")))
        databases = PostgresDatabases(stack.enter_context(postgres_server()), "wal_log")
        await databases.prepare()
        name = await databases.create()
        owner = databases.owner_of(name).url
        practice = Practice(str(folder / "data"), databases.application_of(name).url, owner, "", SEED)
        make_keys(practice.settings)
        ids = [PatientId(uuid7()) for _ in range(people.count)]
        async with connected(owner) as connection:
            await _fill(connection, Writer.of(practice.settings), people, ids)
            await _search(practice, searched)
            found = await _stored(connection, frozenset(ids))
    return [found[identity] for identity in ids]


async def _fill(connection: Connection, writer: Writer, people: People, ids: Sequence[PatientId]) -> None:
    """Write everybody as an import would, some in one transaction, with every trigger."""
    for first in range(0, len(ids), _IN_A_TRANSACTION):
        some = ids[first : first + _IN_A_TRANSACTION]
        persons = people.some(first, first + len(some))
        async with connection.transaction():
            await connection.execute(MIGRATING)
            rows = [writer.rows_of(person.patient(identity)) for identity, person in zip(some, persons, strict=True)]
            await copy_rows(connection, rows)


async def _search(practice: Practice, searched: Sequence[Fragment]) -> None:
    """Let the trail have what searches leave in it."""
    async with running(practice.settings) as services:
        # Twice, so that what was asked again is seen to have been.
        for fragment in [*searched, *searched]:
            await services.patients.search(desk(), PatientQuery(name=fragment.text), at_most=PAGE)


async def _stored(connection: Connection, patients: frozenset[UUID]) -> Mapping[UUID, Mapping[str, frozenset[bytes]]]:
    """Return the tokens of each patient in every table, by table and column."""
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
    found: dict[UUID, dict[str, set[bytes]]] = {patient: defaultdict(set) for patient in patients}
    for (table,) in tables:
        for row in await connection.fetch(f'TABLE "{table}"'):
            about = patients.intersection(value for value in row.values() if isinstance(value, UUID))
            columns = dict(row.items())
            if table == AuditEventRow.__tablename__:
                event = decode(columns.pop("encoded"))
                about |= patients.intersection(event.ids)
                columns |= {item.name: getattr(event, item.name) for item in fields(event) if item.name != "ids"}
            for column, value in columns.items():
                for token in tokens_of(column, value):
                    for patient in about:
                        found[patient][f"{table}.{column}"].add(f"{table}.{column}={token}".encode())
    return {patient: {place: frozenset(tokens) for place, tokens in kept.items()} for patient, kept in found.items()}


def tokens_of(column: str, value: object) -> Iterator[str]:
    if column in _SEALED and isinstance(value, bytes):
        yield str(len(value))
        return
    yield repr(value)
    if isinstance(value, datetime):
        yield value.isoformat(timespec="minutes")
        yield value.date().isoformat()


def attacks_on(stored: Sequence[Mapping[str, frozenset[bytes]]]) -> Mapping[str, Tokens]:
    """Return the sets of tokens to attack: of all columns together, and of each alone in which patients are alike."""
    places = sorted({place for one in stored for place in one})
    together = {"all columns": [frozenset[bytes]().union(*one.values()) for one in stored]}
    alone = {place: [one.get(place, frozenset()) for one in stored] for place in places}
    return together | {place: tokens for place, tokens in alone.items() if _repeated(tokens) >= _FEWEST_VALUES}


def _repeated(tokens: Tokens) -> int:
    """Return how many tokens more than one patient has, but not everybody."""
    seen: dict[bytes, int] = defaultdict(int)
    for some in tokens:
        for token in some:
            seen[token] += 1
    return sum(1 < count < len(tokens) for count in seen.values())


async def measure(options: Namespace) -> dict[str, Any]:
    people = People(options.patients, options.seed)
    families, given = people.names(0, options.patients)
    names = list(zip(given, families, strict=True))
    thief = Thief(known_names())
    say("attacking an index of trigrams")
    tokens = read(thief.names(token_store(names, token_bytes(32))), names)
    say("storing the same patients as we do")
    searched = fragments_among(people, options.seed)
    stored = await our_tokens(people, searched[:_QUICK_SEARCHES] if options.quick else searched)
    attacks = attacks_on(stored)
    ours = {}
    for place in list(attacks)[:_QUICK_ATTACKS] if options.quick else attacks:
        say(f"attacking {place}")
        ours[place] = read(thief.names(attacks[place]), names)
    return told(
        {"token_index_names_read": tokens["read"], "names_read": max(one["read"] for one in ours.values())},
        BOUNDS,
        options,
        rule="a name counts as read if the thief states it and it is the patient's whole name; they state one only"
        f" where of its trigrams and those they made of the tokens at least {CERTAIN:.0%} are on both sides",
        patients=options.patients,
        seed=options.seed,
        different_names=len(set(names)),
        token_index=tokens,
        ours=ours,
        columns=sorted({place for one in stored for place in one}),
        machine=machine(("clarity", "Faker")),
    )


def show(found: Mapping[str, Any]) -> None:
    print(f"\n{found['patients']} patients with {found['different_names']} different names, seed {found['seed']}")
    print(f"index of trigrams: {found['token_index']['read']:.1%} of the names read")
    print(f"ours: {found['names_read']:.1%} read, of {len(found['columns'])} columns")
    for place, one in found["ours"].items():
        print(f"    {place}: {one['stated']:.1%} stated, {one['read']:.1%} rightly")
    print(f"Rule: {found['rule']}.")


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--patients", type=int, default=2_000, help="how many patients (default 2,000)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"what the names follow from (default {SEED})")
    options = parser.parse_args()
    if not 200 <= options.patients <= 20_000:
        parser.error("--patients is 200 to 20,000")
    if options.quick:
        options.patients = _QUICK_PATIENTS
    logging.getLogger("clarity").setLevel(logging.ERROR)  # a machine that is busy is no news of what is measured
    return said(asyncio.run(measure(options)), options, show)


if __name__ == "__main__":
    sys.exit(main())
