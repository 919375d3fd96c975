"""Holds what clients were told against what is stored, in the manner of Jepsen.

What was acknowledged is there once, what failed is not there, and what nobody knows the end of is there once or not at
all. Nothing is there that nobody asked for. Whatever is stored has its event, every event what it tells of, and
whatever was shown an event that says so.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tests.soak.history import LOST, Attempt, End, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Something that was done, as the storage has it.

    `intent` is read from the content, where that can hold it. `request` is the id of the request that did it, as its
    event tells; `record` what was made or changed, and `version` the version it has since.
    """

    kind: Kind
    record: str
    version: int = 0
    intent: str = ""
    request: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A version of a record: as it is stored, or as an event tells of it."""

    table: str
    record: str
    version: int
    digest: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What is stored, once everything is quiet.

    `versions` are those of all sealed records and `told` what the trail says was written. `shown` are the patients that
    each request was shown, by its events. `keys` are the records that idempotency keys name, `connections` those that
    are still open, and `leaks` what was found where it must not be.
    """

    effects: tuple[Effect, ...] = ()
    versions: tuple[Written, ...] = ()
    told: tuple[Written, ...] = ()
    shown: Mapping[str, frozenset[str]] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    connections: int = 0
    leaks: tuple[str, ...] = ()


def objections(history: Iterable[Attempt], stored: Stored) -> list[str]:
    """Return everything that is not as it must be; nothing if all is well."""
    attempts = list(history)
    found = [
        *_of_intents(attempts, stored),
        *_of_keys(attempts, stored),
        *_of_reads(attempts, stored),
        *_of_versions(stored),
        *(f"{attempt.kind} {attempt.intent} was answered by 500" for attempt in attempts if attempt.status == 500),
        *(f"content was found in {leak}" for leak in stored.leaks),
    ]
    if stored.connections:
        found.append(f"{stored.connections} connections are left")
    return found


def _of_intents(attempts: list[Attempt], stored: Stored) -> Iterator[str]:
    """Match everything done with what was meant."""
    writes = [attempt for attempt in attempts if not attempt.kind.reads]
    intents: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in writes:
        intents[attempt.intent].append(attempt)
    by_request = {attempt.request: attempt for attempt in writes if attempt.request != LOST}
    done: dict[str, list[Effect]] = defaultdict(list)
    for effect in stored.effects:
        answered = by_request.get(effect.request)
        if answered is not None and answered.end is End.FAIL:
            yield f"{effect.kind} {answered.intent} failed, and was done: {effect.record} at {effect.version}"
        meant = effect.intent or (answered.intent if answered else _guessed(effect, writes))
        if meant not in intents:
            yield f"nobody asked for {effect.kind} of {effect.record} at version {effect.version}"
        else:
            done[meant].append(effect)
    for intent, tried in intents.items():
        yield from _of_intent(intent, tried, done.get(intent, []))


def _guessed(effect: Effect, writes: list[Attempt]) -> str:
    """Return the intent behind an effect whose request nobody heard of: it named the version before."""
    return next(
        (
            attempt.intent
            for attempt in writes
            if attempt.end is End.UNKNOWN
            and (attempt.kind, attempt.subject, attempt.seen) == (effect.kind, effect.record, effect.version - 1)
        ),
        "",
    )


def _of_intent(intent: str, tried: list[Attempt], done: list[Effect]) -> Iterator[str]:
    kind = tried[0].kind
    acknowledged = [attempt for attempt in tried if attempt.end is End.OK]
    if len(done) > 1:
        yield f"{kind} {intent} was done {len(done)} times"
    if any(effect.kind is not kind for effect in done):
        yield f"{kind} {intent} was done as something else"
    # A change that changes nothing makes no version, and says so by the version it answers with.
    changed = [attempt for attempt in acknowledged if not attempt.seen or attempt.version != attempt.seen]
    if changed and not done:
        yield f"{kind} {intent} was acknowledged, and is not there"
    if done and all(attempt.end is End.FAIL for attempt in tried):
        yield f"{kind} {intent} failed each time, and was done"
    for attempt in changed:
        for effect in done:
            if attempt.record and attempt.record != effect.record:
                yield f"{kind} {intent} was said to be {attempt.record}, and is {effect.record}"
            if attempt.version and effect.version and attempt.version != effect.version:
                yield f"{kind} {intent} was said to be at {attempt.version}, and is at {effect.version}"


def _of_keys(attempts: list[Attempt], stored: Stored) -> Iterator[str]:
    """Hold that each request with a key that was answered has it in the database, once, with what it made."""
    made = {attempt.record: attempt.intent for attempt in attempts if attempt.keyed and attempt.end is End.OK}
    kept = Counter(stored.keys)
    for record, intent in made.items():
        if kept[record] != 1:
            yield f"{intent} made {record} with a key, and {kept[record]} keys name it"
    there = {effect.record for effect in stored.effects}
    for record in kept.keys() - there:
        yield f"a key names {record}, which is not there"


def _of_reads(attempts: list[Attempt], stored: Stored) -> Iterator[str]:
    """Hold that whatever left was in the trail."""
    for attempt in attempts:
        if unknown := set(attempt.shown) - stored.shown.get(attempt.request, frozenset()):
            yield f"{attempt.kind} {attempt.request} showed {len(unknown)} records without an event"


def _of_versions(stored: Stored) -> Iterator[str]:
    """Hold that no version is missing, and that trail and data tell of the same ones."""
    numbers: dict[tuple[str, str], list[int]] = defaultdict(list)
    for one in stored.versions:
        numbers[one.table, one.record].append(one.version)
    for (table, record), found in numbers.items():
        if sorted(found) != list(range(1, len(found) + 1)):
            yield f"{table} {record} has the versions {sorted(found)}"
    kept, told = Counter(stored.versions), Counter(stored.told)
    for one in kept - told:
        yield f"{one.table} {one.record} is at version {one.version} without an event"
    for one in told - kept:
        yield f"an event tells of version {one.version} of {one.table} {one.record}, which is not stored so"
