"""Both sides' answers to the same searches, in turns, in one process."""

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from statistics import median
from typing import Any

from uuid_utils.compat import uuid7

from benchmarks.driver import connected
from benchmarks.fragments import Fragment, FragmentClass
from benchmarks.loading import Practice
from benchmarks.measuring import percentile
from benchmarks.peer import Peer, PlainPatient
from clarity.application.pages import Page
from clarity.application.services import Services
from clarity.domain.access import Actor, Role
from clarity.domain.ids import RequestId
from clarity.domain.patients import Patient, PatientQuery

PAGE = 50
_DESK = Actor(id=uuid7(), role=Role.FRONT_DESK, request=RequestId(uuid7()))
_AGES = ((18, 29), (30, 39), (40, 49), (50, 64), (65, 80))


def desk() -> Actor:
    """Return the front desk, which may see everybody's demographics, in a request of its own."""
    return replace(_DESK, request=RequestId(uuid7()))


@dataclass(frozen=True, slots=True)
class Question:
    """A search that both sides answer: a fragment, and perhaps the ages that are meant."""

    fragment: Fragment
    ages: tuple[int, int] | None = None

    @property
    def query(self) -> PatientQuery:
        least, most = self.ages or (None, None)
        return PatientQuery(name=self.fragment.text, min_age=least, max_age=most)

    def born(self, today: date) -> tuple[date, date] | None:
        """Return the first and the last day on which somebody of these ages was born."""
        if self.ages is None:
            return None
        least, most = self.ages
        return _years_before(today, most + 1) + timedelta(days=1), _years_before(today, least)


def _years_before(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year - years)
    except ValueError:  # born on 29 February, one completes a year on 1 March
        return date(day.year - years, 2, 28)


def questions(fragments: Sequence[Fragment], *, ages: bool) -> list[Question]:
    """Return a question for each fragment; with `ages`, of the decades of life in turn."""
    return [
        Question(fragment, _AGES[position % len(_AGES)] if ages else None)
        for position, fragment in enumerate(fragments)
    ]


@dataclass(slots=True)
class Timed:
    """How long each side took for one question, in milliseconds, in each round."""

    question: Question
    ours: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)
    replanned: list[float] = field(default_factory=list)
    """The peer's too, where it plans each query anew for the very fragment."""
    same: bool = True
    """Whether both gave the same page."""


@dataclass(slots=True)
class Sides:
    """Ours with everything on, and the peer if there is one, twice: once it is `replanning` each query."""

    services: Services
    peer: Peer | None
    replanning: Peer | None
    today: date

    async def ours(self, question: Question) -> Page[Patient]:
        """Search as the front desk: refreshed, decided, opened, durably audited."""
        return await self.services.patients.search(desk(), question.query, at_most=PAGE)

    async def theirs(self, question: Question) -> list[PlainPatient]:
        """Search in plain."""
        assert self.peer is not None
        return await self.peer.search(question.fragment.words, question.born(self.today))

    async def replanned(self, question: Question) -> list[PlainPatient]:
        """Search in plain by a plan that is made for this fragment."""
        assert self.replanning is not None
        return await self.replanning.search(question.fragment.words, question.born(self.today))

    async def compare(self, asked: Sequence[Question], rounds: int) -> list[Timed]:
        """Ask each question once to warm up and to compare the pages, then `rounds` times, both sides in turns.

        In its turn a side is asked twice, and the second answer counts: a scan of the other's that took a second has
        left nothing of what the first one needs in the processor's caches.
        """
        timed = [Timed(question) for question in asked]
        for entry in timed:
            page = await self.ours(entry.question)
            if self.peer is not None:
                plain = await self.theirs(entry.question)
                await self.replanned(entry.question)
                entry.same = [patient.id for patient in page.items] == [patient.id for patient in plain]
        for number in range(rounds):
            for position, entry in enumerate(timed):
                first_ours = (number + position) % 2 == 0
                if first_ours:
                    entry.ours.append(await _milliseconds(self.ours, entry.question))
                if self.peer is not None:
                    entry.peer.append(await _milliseconds(self.theirs, entry.question))
                    entry.replanned.append(await _milliseconds(self.replanned, entry.question))
                if not first_ours:
                    entry.ours.append(await _milliseconds(self.ours, entry.question))
        return timed


async def _milliseconds(search: Callable[[Question], Awaitable[Any]], question: Question) -> float:
    await search(question)
    began = time.perf_counter()
    await search(question)
    return (time.perf_counter() - began) * 1000


async def sides(stack: AsyncExitStack, services: Services, practice: Practice, today: date) -> Sides:
    """Return both sides; the peer's connections are closed with `stack`."""
    if not practice.peer_url:
        return Sides(services, None, None, today)
    connection, replanning = [await stack.enter_async_context(connected(practice.peer_url)) for _ in range(2)]
    await replanning.execute("SET plan_cache_mode = force_custom_plan")
    return Sides(services, await Peer.prepared(connection), await Peer.prepared(replanning), today)


def ratio(ours: Sequence[float], peer: Sequence[float], share: float) -> float | None:
    """Return how a percentile of ours stands to the peer's; none without a peer."""
    return round(percentile(ours, share) / percentile(peer, share), 3) if peer else None


def summary(timed: Sequence[Timed]) -> dict[str, Any]:
    """Return percentiles over the medians of each question, their ratios, and how these vary from round to round."""
    ours = [median(entry.ours) for entry in timed]
    peer = [median(entry.peer) for entry in timed if entry.peer]
    rounds = range(len(timed[0].ours))
    replanned = [median(entry.replanned) for entry in timed if entry.replanned]
    found: dict[str, Any] = {
        "ours_ms": _spread(ours),
        "peer_ms": _spread(peer) if peer else None,
        "replanning_peer_ms": _spread(replanned) if replanned else None,
        "replanning_ratio_p50": ratio(ours, replanned, 0.5),
        "replanning_ratio_p95": ratio(ours, replanned, 0.95),
    }
    for name, share in (("ratio_p50", 0.5), ("ratio_p95", 0.95)):
        found[name] = ratio(ours, peer, share)
        each = [
            ratio([entry.ours[number] for entry in timed], [entry.peer[number] for entry in timed], share)
            for number in (rounds if peer else ())
        ]
        found[f"{name}_by_round"] = sorted(value for value in each if value is not None)
    return found


def _spread(values: Sequence[float]) -> dict[str, float]:
    shares = {"least": 0.0, "p50": 0.5, "p95": 0.95, "worst": 1.0}
    return {name: round(percentile(values, share), 2) for name, share in shares.items()}


def by_class(timed: Sequence[Timed]) -> dict[str, dict[str, Any]]:
    """Return the summary of each class of fragments."""
    return {
        kind.value: summary([entry for entry in timed if entry.question.fragment.kind is kind])
        for kind in FragmentClass
        if any(entry.question.fragment.kind is kind for entry in timed)
    }
