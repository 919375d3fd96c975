"""The use-cases on broken glass: access to one patient in an emergency, who is told of it, and how it is judged."""

import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from clarity.application.admission import Admitted, admit, admit_each, admit_to
from clarity.application.pages import Page, page_size
from clarity.application.patients import RepeatKey
from clarity.application.ports import (
    Answered,
    BeginReading,
    BeginWork,
    Clock,
    Cursors,
    NewId,
    PatientFilter,
    QueuePlace,
    RateLimit,
    Work,
)
from clarity.application.retry import retrying
from clarity.domain.access import Action, Actor, Purpose, Reason, Role, right_to, scope_of
from clarity.domain.accounts import Account, AccountStatus
from clarity.domain.audit import Attempt
from clarity.domain.break_glass import (
    BreakGlass,
    BreakGlassStatus,
    Review,
    ReviewOutcome,
    Uses,
    allowed_time,
    stated_affiliation,
)
from clarity.domain.errors import CannotOpen, Forbidden, Invalid, NotFound, StaleWrite, Transient
from clarity.domain.identifiers import Identifier, IndexKind
from clarity.domain.ids import AccountId, BreakGlassId, PatientId
from clarity.domain.messages import Message, MessageKind
from clarity.domain.records import Resource, Sealed
from clarity.domain.values import require_text

BREAK_GLASS = "break-glass"
"""The rule of the rate limit on breaking the glass, by account."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Broken glass, and what was done under it."""

    glass: BreakGlass
    uses: Uses


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakGlassService:
    """The use-cases on broken glass. Each is one unit of work and leaves an audit event.

    The glass stays broken for `at_most`, and is broken for medical personnel of the facility named `practice` unless
    they say that they belong to another.
    """

    begin: BeginWork
    reading: BeginReading
    cursors: Cursors
    limits: RateLimit
    now: Clock
    new_id: NewId
    at_most: timedelta
    practice: str

    @retrying
    async def open(
        self,
        actor: Actor,
        who: PatientId | Identifier,
        reason: str,
        *,
        minutes: int | None = None,
        affiliation: str = "",
        repeat: RepeatKey | None = None,
    ) -> Report:
        """Give `actor` access to one patient, by id or medical record number, and tell the compliance officers.

        A number without its assigner will do while only one patient has it. With `repeat`, a request that comes again
        finds what the first one opened. Raises `Forbidden` for whoever may never break the glass, `TooMany` if it is
        done too often, and `NotFound` if there is no such patient.
        """
        async with self.begin() as work:
            acting = replace(actor, purpose=Purpose.EMERGENCY)
            attempt = work.note(Attempt(actor=acting, action=Action.BREAK_GLASS, at=self.now()))
            if not isinstance(who, Identifier):
                attempt.patient, attempt.ids = who, (who,)
            _require_right(attempt)
            if repeat and (answered := await work.idempotency_keys.find(actor.id, repeat.key, repeat.request)):
                attempt.actor, attempt.action, attempt.resource = actor, Action.VIEW, Resource.BREAK_GLASS
                admitted = admit_to(attempt, await work.break_glass.get(BreakGlassId(answered.record)))
                return await _reported(work, admitted)
            require_text("reason", reason)
            lasts = allowed_time(minutes, self.at_most)
            facility = stated_affiliation(affiliation, self.practice)
            await self.limits.hit(BREAK_GLASS, str(actor.id))
            account = await _held(work, attempt)
            admitted = admit_to(attempt, await _found(work, attempt, who))
            officers = await work.accounts.find_active(Role.COMPLIANCE_OFFICER)
            glass = BreakGlass(
                id=BreakGlassId(self.new_id()),
                patient=admitted.record.patient,
                account=account.id,
                role=account.role,
                name=account.name,
                affiliation=facility,
                # Nobody else hands the record over: whoever breaks the glass takes it out of the program themselves.
                disclosed_by=account.name,
                reason=reason,
                opened_at=attempt.at,
                expires_at=attempt.at + lasts,
                alerted=len(officers),
            )
            work.note(replace(attempt, resource=Resource.BREAK_GLASS, ids=(glass.id,), query_mac=b"", fields=0))
            if repeat:
                answer = Answered(record=glass.id, version=1)
                await work.idempotency_keys.add(actor.id, repeat.key, repeat.request, answer)
            saved = await work.break_glass.add(admitted, glass)
            await _alert(work, saved, officers)
        return Report(glass=saved, uses=Uses())

    @retrying
    async def close(self, actor: Actor, glass: BreakGlassId) -> Report:
        """End one's own access before its time.

        Raises `NotFound` if there is none, or it is not the actor's, and `Conflict` if it has ended before.
        """
        async with self.begin() as work:
            admitted = admit(work, actor, Action.REVOKE, await work.break_glass.get(glass), at=self.now())
            closed = work.break_glass.open(admitted).closed(admitted.attempt.at)
            await work.break_glass.close(closed)
            return Report(glass=closed, uses=await work.break_glass.uses_of(closed))

    @retrying
    async def view(self, actor: Actor, glass: BreakGlassId) -> Report:
        """Return one. Raises `NotFound` if there is none, or it is neither the actor's nor theirs to review."""
        async with self.reading() as work:
            return await _reported(
                work, admit(work, actor, Action.VIEW, await work.break_glass.get(glass), at=self.now())
            )

    @retrying
    async def list(
        self, actor: Actor, *, status: BreakGlassStatus | None = None, cursor: str = "", at_most: int = 50
    ) -> Page[Report]:
        """Return the review queue, what was not reviewed first; for carers what they opened themselves.

        Raises `Forbidden` for whoever may see none of it.
        """
        context = b"break-glass" + actor.id.bytes + (status or "").encode()
        after = _place(self.cursors.open(cursor, context)) if cursor else None
        size = page_size(at_most)
        async with self.reading(snapshot=True) as work:
            resource = Resource.BREAK_GLASS
            attempt = work.note(Attempt(actor=actor, action=Action.LIST, at=self.now(), resource=resource))
            if not right_to(actor, Action.LIST, resource).exists:
                attempt.refuse(Reason.NO_SUCH_RIGHT)
                raise Forbidden
            scope = scope_of(actor, Action.LIST, resource, at=attempt.at)
            found = await work.break_glass.find_page(scope, status, after=after, at_most=size + 1)
            count = await work.break_glass.count(scope, status)
            admitted = admit_each(attempt, (record for _, record in found[:size]))
            items = [report for entry in admitted if (report := await _reported_or_noted(work, entry))]
        next_cursor = self.cursors.seal(_spelt(found[size - 1][0]), context) if len(found) > size else ""
        return Page(items=tuple(items), next_cursor=next_cursor, count=count)

    @retrying
    async def review(self, actor: Actor, glass: BreakGlassId, outcome: ReviewOutcome, note: str) -> Report:
        """Judge one, once. What is judged unjustified ends at once.

        Raises `NotFound` if there is none, or it is not the actor's to judge; `Forbidden` for whoever opened it
        themselves; `Conflict` if it was judged before, or is said to be justified while it lasts.
        """
        async with self.begin() as work:
            admitted = admit(work, actor, Action.REVIEW, await work.break_glass.get(glass), at=self.now())
            at = admitted.attempt.at
            opened = work.break_glass.open(admitted)
            try:
                judged = opened.reviewed(Review(outcome=outcome, note=note, by=actor.id, at=at))
            except Forbidden:
                admitted.attempt.refuse(Reason.NO_SUCH_RIGHT)
                raise
            saved = await work.break_glass.save_review(judged)
            return Report(glass=saved, uses=await work.break_glass.uses_of(saved))


def _require_right(attempt: Attempt) -> None:
    """Raise `Forbidden` for whoever may never break the glass; a machine may not, whatever its credential says."""
    if attempt.actor.only is not None or not right_to(attempt.actor, Action.BREAK_GLASS).exists:
        attempt.refuse(Reason.NO_SUCH_RIGHT)
        raise Forbidden


async def _found(work: Work, attempt: Attempt, who: PatientId | Identifier) -> Sealed:
    """Fetch the patient who is meant."""
    if not isinstance(who, Identifier):
        return await work.patients.get(who)
    kind = IndexKind.MRN if who.system else IndexKind.MRN_VALUE
    (term,) = (one for one in who.terms if one.kind is kind)
    attempt.query_mac = work.query_mac(f"{kind.name}|{term.text}".encode())
    scope = scope_of(attempt.actor, Action.BREAK_GLASS, at=attempt.at)
    found = await work.patients.find_page(scope, PatientFilter(terms=(term,)), after=None, at_most=2)
    if not found:
        raise NotFound
    if len(found) > 1:
        raise Invalid("mrn_system", "several patients have this number; say who assigned it")
    return found[0]


async def _held(work: Work, attempt: Attempt) -> Account:
    """Return the account that breaks the glass and keep it as it is until that is done.

    Whoever disables it or changes its role at this moment waits, and then ends what is opened here.
    """
    account = await work.accounts.get(AccountId(attempt.actor.id))
    try:
        await work.accounts.hold(account)
    except StaleWrite:
        raise Transient from None
    if account.machine or account.status is not AccountStatus.ACTIVE or account.role is not attempt.actor.role:
        attempt.refuse(Reason.NO_SUCH_RIGHT)
        raise Forbidden
    return account


async def _alert(work: Work, glass: BreakGlass, officers: list[AccountId]) -> None:
    """Tell each compliance officer, in the same transaction: no glass is broken that nobody hears of."""
    if not officers:
        # The emergency does not wait until the practice has appointed somebody; the queue shows it to whoever is.
        _log.warning("the glass was broken, and there is no active compliance officer to be told of it")
    # Neither the patient nor the reason: a letter lies in mailboxes that no key of ours protects.
    content = {"id": str(glass.id), "role": glass.role.title, "time": f"{glass.opened_at:%Y-%m-%d %H:%M:%S} UTC"}
    for officer in officers:
        await work.outbox.put(Message(to=officer, kind=MessageKind.BREAK_GLASS_ALERT, content=content))


async def _reported(work: Work, admitted: Admitted) -> Report:
    glass = work.break_glass.open(admitted)
    return Report(glass=glass, uses=await work.break_glass.uses_of(glass))


async def _reported_or_noted(work: Work, admitted: Admitted) -> Report | None:
    """Return one of a list; what does not open is left out and noted as failed."""
    try:
        return await _reported(work, admitted)
    except CannotOpen as exc:
        attempt, record = admitted.attempt, admitted.record
        attempt.withhold(record.id, Reason.CANNOT_OPEN)
        work.note(replace(attempt, patient=record.patient, ids=(record.id,))).fail(exc)
        return None


def _spelt(place: QueuePlace) -> bytes:
    return place.id.bytes + place.status.encode()


def _place(spelt: bytes) -> QueuePlace:
    return QueuePlace(BreakGlassStatus(spelt[16:].decode()), BreakGlassId(UUID(bytes=spelt[:16])))
