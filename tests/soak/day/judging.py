"""Judges a day: memory levels off, nothing is held without use, nothing is lost or shown without an event."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Final, NamedTuple

from tests.soak.day.course import Thing

MOST_GROWTH_BYTES: Final = 10 * 2**20
"""By how much memory may grow in the second half of a day: a sixteenth of what a server has when it starts.

Thousands of patients that are new in it take less than one MB of the index. What leaks a hundred bytes with each of
25,000 requests takes 2.5 MB, what leaks one kB 25 MB.
"""

_MOST_SAMPLES = 300
_LOST_THE_RACE = 412


class Sample(NamedTuple):
    """How a server stood `seconds` after the beginning. `answered` counts its requests since it started."""

    seconds: float
    memory_bytes: int
    connections: int
    queue: int
    answered: int
    health_ms: float


class Attempt(NamedTuple):
    """A request, and how it ended: `status` is 0 if no answer came, `code` that of the problem if one did."""

    thing: Thing
    status: int
    code: str
    request: str
    seconds: float

    @property
    def is_good(self) -> bool:
        """Tell whether it was answered as was hoped."""
        return 200 <= self.status < 300


class Written(NamedTuple):
    """What was acknowledged: a patient's version, and the e-mail address that came with it."""

    patient: str
    version: int
    email: str


class Stored(NamedTuple):
    """A patient as they are listed when the day is over."""

    version: int
    email: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """All that is known when the day is over.

    `recorded` are the requests that events tell of as done, `reads` those of them that read patients, one for each
    event. `leaked` counts connections and sockets without use, `before` and `imported` are patients.
    """

    samples: Sequence[Sample]
    attempts: Sequence[Attempt]
    written: Sequence[Written]
    stored: Mapping[str, Stored]
    recorded: Collection[str]
    reads: Sequence[str]
    leaked: int
    queue: int
    before: int
    imported: int
    complaints: Sequence[str] = ()

    def objections(self) -> list[str]:
        """Return everything that is not as it must be; nothing if all is well."""
        found = [*self.complaints, *self._of_answers(), *self._of_writes(), *self._of_reads()]
        grown = growth_bytes(self.samples)
        if grown > MOST_GROWTH_BYTES:
            found.append(
                f"memory grew by {grown / 2**20:.1f} MB in the second half, of {MOST_GROWTH_BYTES >> 20} allowed"
            )
        if self.leaked:
            found.append(f"{self.leaked} connections and sockets are held without use")
        if self.queue:
            found.append(f"{self.queue} events wait in the queue of the trail")
        return found

    def _of_answers(self) -> Iterator[str]:
        """Hold that everything was answered. Who changes what another changed meanwhile is told so."""
        bad = Counter((one.thing, one.status, one.code) for one in self.attempts if not one.is_good)
        for (thing, status, code), count in sorted(bad.items()):
            if (thing, status) != (Thing.CHANGE, _LOST_THE_RACE):
                yield f"{count} of {thing} were answered by {f'{status} {code}' if status else 'nobody'}"

    def _of_writes(self) -> Iterator[str]:
        """Hold that what was acknowledged is there, once, and nobody else."""
        twice = sum(count > 1 for count in Counter((one.patient, one.version) for one in self.written).values())
        if twice:
            yield f"{twice} versions were acknowledged twice"
        # What nobody knows the end of may have made a version more.
        lost = [
            one
            for one in self.written
            if (there := self.stored.get(one.patient)) is None
            or there.version < one.version
            or (there.version == one.version and there.email != one.email)
        ]
        if lost:
            yield f"{len(lost)} of {len(self.written)} acknowledged writes are not there"
        expected = self.before + self.imported + sum(one.version == 1 for one in self.written)
        unknown = sum(one.thing is Thing.REGISTER and not one.status for one in self.attempts)
        if not expected <= len(self.stored) <= expected + unknown:
            yield f"there are {len(self.stored)} patients, and should be {expected}"

    def _of_reads(self) -> Iterator[str]:
        """Hold that whatever was answered is in the trail, and that the trail tells of nothing else."""
        good = [one for one in self.attempts if one.is_good]
        if missing := sum(one.request not in self.recorded for one in good):
            yield f"{missing} of {len(good)} answers have no event"
        answered = Counter(one.request for one in good if one.thing.reads)
        # An event of what was prepared and then not answered harms nobody.
        events, unanswered = Counter(self.reads), sum(one.thing.reads and not one.is_good for one in self.attempts)
        if not answered.total() <= events.total() <= answered.total() + unanswered or answered - events:
            yield f"{events.total()} events tell of {answered.total()} reads that were answered"


def growth_bytes(samples: Sequence[Sample]) -> float:
    """Return by how much memory grew in the second half: the slope after Theil and Sen times how long that was.

    It is the median of the slopes between all pairs, so that up to 29 % of the samples may be anything.
    """
    half = samples[len(samples) // 2 :]
    some = half[:: max(1, len(half) // _MOST_SAMPLES)]
    slopes = [
        (later.memory_bytes - sooner.memory_bytes) / (later.seconds - sooner.seconds)
        for sooner, later in combinations(some, 2)
    ]
    return median(slopes) * (some[-1].seconds - some[0].seconds) if slopes else 0.0
