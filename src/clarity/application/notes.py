"""The use-cases on clinical notes: drafted, signed, added to, and amended on the patient's request."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from clarity.application.admission import admit_each
from clarity.application.charts import Charting, PageAsked
from clarity.application.pages import Page, page_size
from clarity.application.patients import RepeatKey
from clarity.application.ports import (
    Answered,
    BeginReading,
    BeginWork,
    Clock,
    Cursors,
    DueNote,
    NewId,
    RecordRevision,
    Work,
)
from clarity.application.retry import retrying
from clarity.domain.access import Action, Actor, Reason, Role, Scope, scope_of
from clarity.domain.amendments import Acceptance, Amendment, Denial, DenialGround, Extension, Statement
from clarity.domain.audit import Attempt
from clarity.domain.errors import Forbidden, Invalid, NotFound
from clarity.domain.ids import AmendmentId, NoteId, PatientId
from clarity.domain.notes import Note, NoteContent, NoteFilter, NoteKind, NoteStatus
from clarity.domain.records import Resource, Sealed

_AT_A_TIME = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class NotesAsked:
    """Which notes of a patient are listed; `None` allows all."""

    kind: NoteKind | None = None
    status: NoteStatus | None = None
    addendum_to: NoteId | None = None

    def page(self, cursor: str, at_most: int) -> PageAsked[Note, NoteFilter]:
        """Return the question for a page of them."""
        kind = self.kind
        return PageAsked(
            conditions=NoteFilter(status=self.status, addendum_to=self.addendum_to),
            provided=None if kind is None else lambda note: note.kind is kind,
            spelt=f"notes|{kind}|{self.status}|{self.addendum_to}".encode(),
            cursor=cursor,
            at_most=at_most,
        )


@dataclass(frozen=True, slots=True)
class OpenRequests:
    """A note with open requests to amend it, and the patient by way of whom it is reached.

    The note is of another where their record was merged into the patient's.
    """

    patient: PatientId
    note: Note


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteService:
    """The use-cases on clinical notes. Each is one unit of work and leaves an audit event.

    `today` is the calendar day in the practice, by which requests for amendment are due. All raise `NotFound` if there
    is no such patient or note, or it is not for the actor to do this to; those that take a `version` raise `StaleWrite`
    unless the note is at it, and `Conflict` if it is not in a state that allows this.
    """

    begin: BeginWork
    reading: BeginReading
    cursors: Cursors
    now: Clock
    today: Callable[[], date]
    new_id: NewId

    @retrying
    async def draft(
        self, actor: Actor, patient: PatientId, content: NoteContent, *, repeat: RepeatKey | None = None
    ) -> Note:
        """Begin a note, which exists for its author alone until it is signed.

        With `repeat`, a request that comes again finds what the first one began. Raises `Invalid` naming the field that
        breaks a rule, such as `addendum_to` if that is no signed note of this patient that the actor sees.
        """
        async with self.begin() as work:
            charting = self._charting(work, actor)
            if repeat and (answered := await work.idempotency_keys.find(actor.id, repeat.key, repeat.request)):
                return await charting.open(Action.VIEW, patient, answered.record)
            original = await self._original(charting, patient, content)
            note = Note(id=NoteId(self.new_id()), patient=patient, **content.fields_beside(original))
            admitted = await charting.admit_new(note)
            note.require_adds_to(original)
            if repeat:
                await work.idempotency_keys.add(
                    actor.id, repeat.key, repeat.request, Answered(record=note.id, version=1)
                )
            return await work.notes.add(admitted, replace(note, author=actor.id))

    @retrying
    async def list(
        self, actor: Actor, patient: PatientId, asked: NotesAsked, *, cursor: str = "", at_most: int = 50
    ) -> Page[Note]:
        """Return the notes of a patient that the actor may see, the latest recorded first."""
        async with self.reading(snapshot=True) as work:
            return await self._charting(work, actor).page(patient, asked.page(cursor, at_most), self.cursors)

    @retrying
    async def view(self, actor: Actor, patient: PatientId, note: NoteId) -> Note:
        """Return a note, with what was asked to be amended in it, which goes along with it."""
        async with self.reading() as work:
            return await self._charting(work, actor).open(Action.VIEW, patient, note)

    @retrying
    async def history(
        self, actor: Actor, patient: PatientId, note: NoteId, *, before: int | None = None, at_most: int = 20
    ) -> tuple[RecordRevision[Note], ...]:
        """Return the versions of a note below `before`, the newest first; what was a draft, to its author alone."""
        async with self.reading(snapshot=True) as work:
            return await self._charting(work, actor).history(patient, note, before=before, at_most=at_most)

    @retrying
    async def edit(self, actor: Actor, patient: PatientId, note: NoteId, content: NoteContent, *, version: int) -> Note:
        """Write other content in the place of a draft's. Raises `Invalid` as `draft` does."""
        async with self.begin() as work:
            charting = self._charting(work, actor)
            stored = await charting.open(Action.CHANGE, patient, note, version=version)
            original = None if content.addendum_to == note else await self._original(charting, patient, content)
            edited = stored.edited(content.fields_beside(original))
            edited.require_adds_to(original)
            return stored if edited == stored else await work.notes.save(edited)

    @retrying
    async def delete(self, actor: Actor, patient: PatientId, note: NoteId, *, version: int) -> None:
        """Throw a draft away. Its row and its versions stay, and nobody reaches them."""
        async with self.begin() as work:
            stored = await self._charting(work, actor).open(Action.DELETE, patient, note, version=version)
            await work.notes.save(stored.deleted(self.now()))

    @retrying
    async def sign(self, actor: Actor, patient: PatientId, note: NoteId, *, version: int) -> Note:
        """Sign a draft, as its author. From then on it is not changed any more, and is there for whoever may see it."""
        return await self._changed(
            Action.SIGN, actor, patient, note, version=version, change=lambda stored: stored.signed(self.now())
        )

    @retrying
    async def cosign(self, actor: Actor, patient: PatientId, note: NoteId, *, version: int) -> Note:
        """Sign somebody else's signed note too."""
        return await self._changed(
            Action.COSIGN,
            actor,
            patient,
            note,
            version=version,
            change=lambda stored: stored.cosigned(actor.id, self.now()),
        )

    @retrying
    async def request_amendment(
        self,
        actor: Actor,
        patient: PatientId,
        note: NoteId,
        *,
        what: str,
        why: str,
        received_on: date | None = None,
        version: int,
    ) -> Note:
        """Ask to amend what a note says (45 CFR 164.526(b)(1)): as the patient, or for them as staff.

        `received_on` is the day that the times count from, today if it is left out. Raises `Invalid` if it is to come,
        or if a patient names another.
        """
        by_patient, today = actor.role is Role.PATIENT, self.today()
        received = received_on or today
        if received > today or (by_patient and received != today):
            raise Invalid("received_on", "must not be in the future, and is today if the patient asks here")
        request = Amendment(
            id=AmendmentId(self.new_id()),
            what=what,
            why=why,
            received_on=received,
            requested_at=self.now(),
            requested_by=actor.id,
            by_patient=by_patient,
        )
        return await self._changed(
            Action.REQUEST_AMENDMENT,
            actor,
            patient,
            note,
            version=version,
            change=lambda stored: stored.with_request(request),
        )

    @retrying
    async def extend_amendment(
        self,
        actor: Actor,
        patient: PatientId,
        note: NoteId,
        amendment: AmendmentId,
        *,
        reason: str,
        until: date,
        version: int,
    ) -> Note:
        """Take more time to decide, once, after telling the patient in writing why, and until when (b)(2)(ii)."""
        extension = Extension(reason=reason, until=until, at=self.now(), by=actor.id)
        return await self._changed(
            Action.DECIDE_AMENDMENT,
            actor,
            patient,
            note,
            version=version,
            change=lambda stored: stored.with_amendment(amendment, lambda one: one.extended(extension, self.today())),
        )

    @retrying
    async def accept_amendment(
        self,
        actor: Actor,
        patient: PatientId,
        note: NoteId,
        amendment: AmendmentId,
        *,
        addendum: NoteId,
        told: tuple[str, ...],
        version: int,
    ) -> Note:
        """Accept a request: `addendum` is the signed note that amends this one, `told` those who were told of it (c).

        Raises `Invalid` if that is no signed addendum to this note that the actor sees.
        """
        acceptance = Acceptance(addendum=addendum, told=told, at=self.now(), by=actor.id)
        async with self.begin() as work:
            charting = self._charting(work, actor)
            stored = await charting.open(Action.DECIDE_AMENDMENT, patient, note, version=version)
            accepted = stored.with_amendment(amendment, lambda one: one.accepted(acceptance))
            amending = await self._found(charting, patient, addendum)
            if amending is None or amending.addendum_to != note or amending.status is not NoteStatus.SIGNED:
                raise Invalid("addendum", "must be a signed addendum to this note that you see")
            return await work.notes.save(accepted)

    @retrying
    async def deny_amendment(
        self,
        actor: Actor,
        patient: PatientId,
        note: NoteId,
        amendment: AmendmentId,
        *,
        ground: DenialGround,
        basis: str,
        version: int,
    ) -> Note:
        """Deny a request, on one of the grounds of (a)(2), with the basis in plain language (d)(1)."""
        denial = Denial(ground=ground, basis=basis, at=self.now(), by=actor.id)
        return await self._changed(
            Action.DECIDE_AMENDMENT,
            actor,
            patient,
            note,
            version=version,
            change=lambda stored: stored.with_amendment(amendment, lambda one: one.denied(denial)),
        )

    @retrying
    async def disagree(
        self, actor: Actor, patient: PatientId, note: NoteId, amendment: AmendmentId, text: str, *, version: int
    ) -> Note:
        """Add the patient's statement of disagreement with a denial (d)(2), as the patient, or for them as staff."""
        statement = Statement(text=text, at=self.now(), by=actor.id)
        return await self._changed(
            Action.REQUEST_AMENDMENT,
            actor,
            patient,
            note,
            version=version,
            change=lambda stored: stored.with_amendment(amendment, lambda one: one.disagreed(statement)),
        )

    @retrying
    async def rebut(
        self, actor: Actor, patient: PatientId, note: NoteId, amendment: AmendmentId, text: str, *, version: int
    ) -> Note:
        """Add the practice's rebuttal of a statement of disagreement (d)(3), of which the patient gets a copy."""
        statement = Statement(text=text, at=self.now(), by=actor.id)
        return await self._changed(
            Action.DECIDE_AMENDMENT,
            actor,
            patient,
            note,
            version=version,
            change=lambda stored: stored.with_amendment(amendment, lambda one: one.rebutted(statement)),
        )

    @retrying
    async def open_requests(self, actor: Actor, *, cursor: str = "", at_most: int = 50) -> Page[OpenRequests]:
        """Return notes with open requests for amendment that the actor may decide, those that are due first.

        How many there are in all is not told. Raises `Forbidden` for whoever decides none.
        """
        context = b"open amendments" + actor.id.bytes
        after = _place(self.cursors.open(cursor, context)) if cursor else None
        size = page_size(at_most)
        async with self.reading(snapshot=True) as work:
            charting = self._charting(work, actor)
            scope = scope_of(actor, Action.DECIDE_AMENDMENT, Resource.NOTE, at=charting.at)
            looked = work.note(Attempt(actor=actor, action=Action.LIST, at=charting.at, resource=Resource.NOTE))
            if not scope.right.exists:
                looked.refuse(Reason.NO_SUCH_RIGHT)
                raise Forbidden
            found = await _covered(work, scope, after, size + 1)
            records = [one.record for one in found[:size]]
            opened: dict[UUID, Note] = {}
            for patient in dict.fromkeys(record.patient for record in records):
                of_patient = work.note(replace(looked, patient=patient))
                admitted = admit_each(of_patient, (one for one in records if one.patient == patient))
                opened |= {note.id: note for note in charting.open_each(admitted)}
            items = tuple(_reached(record, opened[record.id]) for record in records if record.id in opened)
        last = found[size - 1] if len(found) > size else None
        next_cursor = (
            self.cursors.seal(last.due_on.isoformat().encode() + last.record.id.bytes, context) if last else ""
        )
        return Page(items=items, next_cursor=next_cursor, count=len(items), exact=False)

    async def _changed(
        self,
        action: Action,
        actor: Actor,
        patient: PatientId,
        note: NoteId,
        *,
        version: int,
        change: Callable[[Note], Note],
    ) -> Note:
        """Open a note to do `action` to it, and store what `change` makes of it."""
        async with self.begin() as work:
            stored = await self._charting(work, actor).open(action, patient, note, version=version)
            return await work.notes.save(change(stored))

    def _charting(self, work: Work, actor: Actor) -> Charting[Note, NoteFilter]:
        return Charting(work, work.notes, actor, self.now())

    async def _original(
        self, charting: Charting[Note, NoteFilter], patient: PatientId, content: NoteContent
    ) -> Note | None:
        """Return the note that an addendum would add to, or `None` if the actor sees no such note of the patient."""
        return None if content.addendum_to is None else await self._found(charting, patient, content.addendum_to)

    async def _found(self, charting: Charting[Note, NoteFilter], patient: PatientId, note: NoteId) -> Note | None:
        try:
            return await charting.open(Action.VIEW, patient, note)
        except NotFound:
            return None


async def _covered(work: Work, scope: Scope, after: tuple[date, NoteId] | None, at_most: int) -> list[DueNote]:
    """Return at most `at_most` notes with open requests that `scope` covers, behind `after`.

    As many as there are: a page that ends early would tell that there is something between which is not for the actor.
    """
    covered: list[DueNote] = []
    while len(covered) < at_most:
        found = await work.notes.find_due(scope, after=after, at_most=_AT_A_TIME)
        covered += [one for one in await _standing(work, found) if work.notes.is_covered(scope, one.record)]
        if len(found) < _AT_A_TIME:
            break
        after = found[-1].due_on, NoteId(found[-1].record.id)
    return covered[:at_most]


async def _standing(work: Work, found: Sequence[DueNote]) -> list[DueNote]:
    """Return what was found, each to stand as the record of the patient whose it is now."""
    persons = {one.record.patient: one.record.patient for one in found}
    latest = list(persons)
    while latest and (survivors := await work.duplicates.survivors_of(latest)):
        persons = {patient: survivors.get(person, person) for patient, person in persons.items()}
        latest = list(dict.fromkeys(survivors.values()))
    whose = {one.patient: one for one in await work.patients.get_many(list(dict.fromkeys(persons.values())))}
    standing = ((one, whose.get(persons[one.record.patient])) for one in found)
    return [DueNote(one.due_on, work.notes.standing_as(one.record, of)) for one, of in standing if of is not None]


def _reached(record: Sealed, note: Note) -> OpenRequests:
    standing = record.standing
    return OpenRequests(note.patient if standing is None or standing.person is None else standing.person, note)


def _place(spelt: bytes) -> tuple[date, NoteId]:
    return date.fromisoformat(spelt[:-16].decode()), NoteId(UUID(bytes=spelt[-16:]))
