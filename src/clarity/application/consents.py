"""The use-cases on consents: what a patient allowed in writing, and that they take it back."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from clarity.application.admission import admit
from clarity.application.patients import RepeatKey
from clarity.application.ports import Answered, BeginReading, BeginWork, Clock, Work
from clarity.application.retry import retrying
from clarity.domain.access import Action, Actor, Consent, ConsentRegister
from clarity.domain.dates import latest_day
from clarity.domain.errors import Invalid
from clarity.domain.ids import ConsentId, PatientId, PractitionerId


@dataclass(frozen=True, slots=True)
class ConsentService:
    """The use-cases on consents. Each is one unit of work and leaves an audit event.

    They are for the patient, and for the clinicians and nurses of the care team, whatever the label of the record:
    somebody has to enter the consent under which they will see it.
    """

    begin: BeginWork
    reading: BeginReading
    now: Clock

    @retrying
    async def list(self, actor: Actor, patient: PatientId) -> ConsentRegister:
        """Return all consents of a patient, those withdrawn or expired too.

        Raises `NotFound` if there is no such patient, or if their consents are not for `actor`.
        """
        async with self.reading() as work:
            return await self._open(work, actor, Action.LIST, patient)

    @retrying
    async def record(
        self, actor: Actor, patient: PatientId, consent: Callable[[UUID], Consent], *, repeat: RepeatKey | None = None
    ) -> tuple[Consent, int]:
        """Record what `consent` makes for the account that records it; return it with the version of the register.

        With `repeat`, a request that comes again finds what the first one recorded. Raises `NotFound` as `list` does,
        and `Invalid` for a recipient who is not known here.
        """
        async with self.begin() as work:
            admitted = admit(work, actor, Action.REGISTER, await work.consents.get(patient), at=self.now())
            register = work.consents.open(admitted)
            if repeat and (answered := await work.idempotency_keys.find(actor.id, repeat.key, repeat.request)):
                admitted.attempt.action = Action.LIST  # nothing is recorded this time
                return register.consent(ConsentId(answered.record)), register.version
            given = consent(actor.id)
            if given.signed_on > latest_day(self.now()):
                raise Invalid("signed_on", "must not be in the future")
            await _require_known(work, given.recipients)
            if repeat:
                answered = Answered(record=given.id, version=register.version + 1)
                await work.idempotency_keys.add(actor.id, repeat.key, repeat.request, answered)
            saved = await work.consents.save(register.with_new(given))
            return given, saved.version

    @retrying
    async def withdraw(self, actor: Actor, patient: PatientId, consent: ConsentId) -> tuple[Consent, int]:
        """End a consent; from the next request on nobody sees anything under it.

        Raises `NotFound` as `list` does and if the patient never gave it, `Conflict` if it was withdrawn before.
        """
        async with self.begin() as work:
            register = await self._open(work, actor, Action.WITHDRAW, patient)
            saved = await work.consents.save(register.without(consent, self.now(), actor.id))
            return saved.consent(consent), saved.version

    async def _open(self, work: Work, actor: Actor, action: Action, patient: PatientId) -> ConsentRegister:
        return work.consents.open(admit(work, actor, action, await work.consents.get(patient), at=self.now()))


async def _require_known(work: Work, recipients: tuple[PractitionerId, ...]) -> None:
    if recipients and len(await work.practitioners.find(sorted(recipients))) != len(recipients):
        raise Invalid("recipients", "names a practitioner who is not known here")
