"""The records in charts of one unit of an import: what is new is made, what is here is brought in step."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

from clarity.application.admission import Admitted, admit_each
from clarity.application.imports.incoming import Charted, IncomingRecord, Place
from clarity.application.imports.report import Tally
from clarity.application.ports import ChartRepository, SourcedRecord, Work
from clarity.domain.access import Action, Actor, Reason
from clarity.domain.appointments import Appointment
from clarity.domain.audit import Attempt
from clarity.domain.errors import Conflict, DanglingReference, Forbidden
from clarity.domain.identifiers import IndexTerm
from clarity.domain.ids import PatientId
from clarity.domain.medications import Prescription
from clarity.domain.notes import Note
from clarity.domain.practitioners import Practitioner
from clarity.domain.records import Label, Resource, Sealed

_KINDS: Final[Mapping[type[Charted], Resource]] = {
    Appointment: Resource.APPOINTMENT,
    Prescription: Resource.PRESCRIPTION,
    Note: Resource.NOTE,
}
# What is said of a record in this practice alone, and stays whatever its source says next.
_OURS: Final[Mapping[Resource, tuple[str, ...]]] = {
    Resource.APPOINTMENT: ("series",),
    Resource.PRESCRIPTION: ("former", "ingredients"),
    Resource.NOTE: ("cosignatures", "amendments"),
}
_OF_THE_ROW = ("id", "patient", "author", "notice", "version")


def kind_of(record: Charted) -> Resource:
    """Return the kind of a record."""
    return _KINDS[type(record)]


def followed(stored: Charted, incoming: Charted) -> Charted:
    """Return a stored record with what its source says of it now, which is not what it said before.

    Whatever was changed here since then gives way to it, but for what is said here alone. A label that was given here
    stays too.
    """
    ours = {name: getattr(stored, name) for name in (*_OF_THE_ROW, *_OURS[kind_of(stored)])}
    label = incoming.label if stored.label is Label.NORMAL else stored.label
    return _changed(incoming, {**ours, "label": label})


@dataclass(frozen=True, slots=True)
class ChartIntake:
    """The records of a unit on their way into charts. `at_work` is told the place of what is being worked on."""

    work: Work
    actor: Actor
    now: datetime
    tallies: Mapping[Resource, Tally]
    at_work: Callable[[Place], None]
    practitioners: Mapping[IndexTerm, Practitioner]
    _found: dict[str, SourcedRecord] = field(default_factory=dict, init=False)

    async def take(self, records: Sequence[IncomingRecord]) -> None:
        """Write what is new or changed, one chart after the other, and of each one kind after the other.

        Raises `DanglingReference` if a patient or the practitioner of an appointment is not known, `Conflict` if a
        resource came before for another patient, or if a chart was closed, and `Overlapping` if two that are booked are
        at one time.
        """
        self._found.update(await self.work.sources.find([one.source for one in records]))
        charts: defaultdict[str, defaultdict[Resource, list[IncomingRecord]]]
        charts = defaultdict(lambda: defaultdict(list))
        for one in records:
            charts[one.subject][kind_of(one.record)].append(one)
        for subject, kinds in charts.items():
            first = next(iter(kinds.values()))[0]
            self.at_work(replace(first.place, element="subject"))
            whose = await self._chart_of(subject)
            for kind, some in kinds.items():
                await self._take_kind(whose, kind, some)

    async def _chart_of(self, subject: str) -> Sealed:
        owner = await self.work.patients.find_by_source(subject)
        if owner is None:
            raise DanglingReference
        whose = await self.work.patients.get(owner)
        if whose.standing is None or whose.standing.deleted:
            raise Conflict("this patient was deleted or merged here, and an import adds nothing to their chart")
        return whose

    async def _take_kind(self, whose: Sealed, kind: Resource, records: Sequence[IncomingRecord]) -> None:
        """Write the records of one kind in one chart; one event tells of all of them."""
        repository, tally = self._repository(kind), self.tallies[kind]
        known: dict[Any, IncomingRecord] = {}
        for one in records:
            self.at_work(one.place)
            if (found := self._found.get(one.source)) is not None:
                if found.patient != whose.patient:
                    raise Conflict("this resource came before as another patient's; name the source with --source")
                known[found.record] = one
        made = list(self._made(whose.patient, [one for one in records if one.source not in self._found]))
        stored = await repository.get_some(whose, list(known)) if known else []
        present = [one for one in stored if one.standing is not None and not one.standing.deleted]
        new = [repository.new(whose, one.id, one.label, self.actor.id) for one in made]
        admitted = self._admitted(kind, whose.patient, [*present, *new])
        await repository.add_some(admitted[len(present) :], made)
        await self.work.sources.add({one.sources[0]: SourcedRecord(whose.patient, one.id) for one in made})
        tally.added += len(made)
        tally.unchanged += len(known) - len(present)
        for entry in admitted[: len(present)]:
            incoming = known[entry.record.id]
            self.at_work(incoming.place)
            before = repository.open(entry)
            if before.source_digest == incoming.record.source_digest:
                tally.unchanged += 1
            else:
                await repository.follow(followed(before, _changed(incoming.record, self._attributed(incoming))))
                tally.changed += 1

    def _admitted(self, kind: Resource, patient: PatientId, records: Sequence[Sealed]) -> list[Admitted]:
        if not records:
            return []
        attempt = Attempt(actor=self.actor, action=Action.IMPORT, at=self.now, resource=kind, patient=patient)
        admitted = admit_each(self.work.note(attempt), records)
        if len(admitted) < len(records):
            attempt.ids = tuple(one.id for one in records)
            attempt.refuse(Reason.NO_SUCH_RIGHT)
            raise Forbidden
        return admitted

    def _made(self, patient: PatientId, records: Iterable[IncomingRecord]) -> Iterator[Charted]:
        """Yield records that are new, with ids in the order of time in which what they tell of took place."""
        ordered = sorted(records, key=attrgetter("at"))
        ids = sorted(one.record.id for one in ordered)
        for one, identity in zip(ordered, ids, strict=True):
            self.at_work(one.place)
            found = {"id": identity, "patient": patient, "author": self.actor.id}
            yield _changed(one.record, found | self._attributed(one))

    def _attributed(self, incoming: IncomingRecord) -> dict[str, object]:
        """Return what of a record depends on the practitioner it names, and on whoever takes it in."""
        record = incoming.record
        who = self.practitioners.get(incoming.practitioner) if incoming.practitioner is not None else None
        if isinstance(record, Appointment):
            if who is None:
                self.at_work(incoming.reference or incoming.place)
                raise DanglingReference
            ended = record.cancellation
            by = None if ended is None else replace(ended, by=self.actor.id)
            return {"practitioner": who.id, "cancellation": by}
        if who is None:
            return {}
        if isinstance(record, Prescription):
            return {"prescriber": who.id, "prescribed_by": ""}
        return {} if record.written_by else {"written_by": str(who.name)}

    def _repository(self, kind: Resource) -> ChartRepository[Any, Any]:
        work = self.work
        repositories: Mapping[Resource, ChartRepository[Any, Any]] = {
            Resource.APPOINTMENT: work.appointments,
            Resource.PRESCRIPTION: work.prescriptions,
            Resource.NOTE: work.notes,
        }
        return repositories[kind]


def _changed(record: Charted, changes: Mapping[str, object]) -> Charted:
    shape: Any = record
    changed: Charted = replace(shape, **changes)
    return changed
