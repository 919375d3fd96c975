"""The routes on a patient's consents, and their shapes."""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import Response
from pydantic import ConfigDict, Field
from starlette.exceptions import HTTPException

from clarity.api.dependencies import Consents, CurrentActor, IdempotencyKey, RunningServices
from clarity.api.problems import documented
from clarity.api.routing import router_of
from clarity.api.wire import Day, Instant, Json, Received, Wire
from clarity.application.patients import RepeatKey
from clarity.domain.access import Consent, ConsentRegister, Purpose
from clarity.domain.errors import Conflict, NotFound, ReusedKey
from clarity.domain.ids import ConsentId, PatientId, PractitionerId
from clarity.domain.records import Label
from clarity.domain.values import MAX_ITEMS, MAX_TEXT

_BODY = documented(HTTPException(413), HTTPException(415))
_ETAG: dict[str, Any] = {
    "headers": {"ETag": {"description": "The version of the patient's consents.", "schema": {"type": "string"}}}
}
router = router_of("patients/{patient_id}/consents")
router.tags = ["consents"]


class PurposeName(StrEnum):
    """A purpose of use (HL7 v3 PurposeOfUse), in words."""

    TREATMENT = "treatment"
    OPERATIONS = "operations"
    PATIENT_REQUEST = "patient-request"
    RESEARCH = "research"
    SYSTEM_ADMINISTRATION = "system-administration"
    EMERGENCY = "emergency"


Text = Annotated[str, Field(max_length=MAX_TEXT)]


class ConsentFields(Wire):
    """What a patient allowed in writing (42 CFR 2.31; 45 CFR 164.508 for psychotherapy notes)."""

    labels: Annotated[tuple[Label, ...], Field(max_length=MAX_ITEMS)]
    """The records that it covers, by their label: `part2`, or `psychotherapy`, which takes a consent of its own."""
    purposes: Annotated[tuple[PurposeName, ...], Field(max_length=MAX_ITEMS)]
    """What the records may be used for. Clinicians and nurses act for `treatment`."""
    from_whom: Text
    """Who may disclose, as the document has it (42 CFR 2.31(a)(2))."""
    to_whom: Text
    """To whom, as the document has it (42 CFR 2.31(a)(4))."""
    what: Text
    """Which information, as the document has it (42 CFR 2.31(a)(3))."""
    recipients: Annotated[tuple[PractitionerId, ...], Field(max_length=MAX_ITEMS)] = ()
    """The practitioners meant by `to_whom`; none for all who treat the patient."""
    since: Instant
    """From when on it holds."""
    until: Instant | None = None
    """When it ends; null if `ends_with` says what ends it."""
    ends_with: Text = ""
    """The event or condition that ends it, in the words of the document, such as "end of treatment" or "none"
    (42 CFR 2.31(a)(7)). Somebody has to withdraw the consent when that comes about."""
    signed_by: Text
    """The patient, or who may sign for them (42 CFR 2.31(a)(8))."""
    signed_on: Day
    """The day of the signature (42 CFR 2.31(a)(9))."""
    document: Text
    """The signed form and where it is kept. The right to revoke the consent and the statements about redisclosure stand
    on it (42 CFR 2.31(a)(6), (a)(10))."""


_EXAMPLE: dict[str, Any] = {
    "labels": ["part2"],
    "purposes": ["treatment"],
    "from_whom": "Harbor Recovery Program",
    "to_whom": "My treating providers",
    "what": "Records of my substance use treatment since 2024",
    "since": "2026-03-14T00:00:00Z",
    "until": "2027-03-14T00:00:00Z",
    "signed_by": "the patient",
    "signed_on": "2026-03-13",
    "document": "Form P2-1 (2026), scanned into the document archive",
}


class ConsentIn(ConsentFields, Received):
    """A consent to be recorded."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    def canonical(self, patient: PatientId) -> bytes:
        """Return this request in one spelling, by which a repetition of it is recognised."""
        return b"record consent " + patient.bytes + self.model_dump_json().encode()

    def consent(self, consent: ConsentId, at: datetime) -> Callable[[UUID], Consent]:
        """Return what makes the consent described, as recorded by an account at an instant."""
        content = self.content()
        content["purposes"] = tuple(Purpose[name.name] for name in self.purposes)

        def by(account: UUID) -> Consent:
            return Consent(id=consent, recorded_at=at, recorded_by=account, **content)

        return by


class ConsentOut(ConsentFields):
    """A consent as it is recorded."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_EXAMPLE,
                    "id": "019a9d5c-60b1-7e52-9a4c-77d0a2b1c3e4",
                    "recipients": [],
                    "ends_with": "",
                    "recorded_at": "2026-03-14T09:26:53Z",
                    "recorded_by": "019a9d5c-2b6f-7d11-8f0a-13c5d7e9b2a6",
                    "withdrawn_at": "2026-05-02T15:04:05Z",
                    "withdrawn_by": "019a9d5c-2b6f-7d11-8f0a-13c5d7e9b2a6",
                    "in_force": False,
                }
            ]
        }
    )

    id: ConsentId
    recorded_at: Instant
    recorded_by: UUID
    """The account that recorded it."""
    withdrawn_at: Instant | None
    withdrawn_by: UUID | None
    """The account that withdrew it."""
    in_force: bool
    """Whether it holds now."""

    @classmethod
    def of(cls, consent: Consent, now: datetime) -> Self:
        """Return the shape of `consent` at an instant."""
        content = {name: getattr(consent, name) for name in cls.model_fields if name != "in_force"}
        content["purposes"] = tuple(PurposeName[purpose.name] for purpose in consent.purposes)
        return cls(in_force=consent.holds_at(now), **content)


class ConsentListOut(Wire):
    """All consents of a patient, in the order they were recorded."""

    items: tuple[ConsentOut, ...]
    version: int
    """Rises by one with each consent recorded or withdrawn; 0 if there never was one."""

    @classmethod
    def of(cls, register: ConsentRegister, now: datetime) -> Self:
        """Return the shape of `register` at an instant."""
        return cls(items=tuple(ConsentOut.of(one, now) for one in register.consents), version=register.version)


@router.get("", responses={200: _ETAG, **documented(NotFound())})
async def list_consents(
    patient_id: PatientId, actor: CurrentActor, consents: Consents, services: RunningServices, response: Response
) -> ConsentListOut:
    """List a patient's consents, those withdrawn or expired too: for the patient and their care team."""
    register = await consents.list(actor, patient_id)
    response.headers["ETag"] = f'"{register.version}"'
    return ConsentListOut.of(register, services.now())


@router.post("", status_code=201, responses={201: _ETAG, **_BODY, **documented(NotFound(), ReusedKey())})
async def record_consent(
    patient_id: PatientId,
    consent: Json[ConsentIn],
    actor: CurrentActor,
    consents: Consents,
    services: RunningServices,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> ConsentOut:
    """Record a consent that the patient gave in writing. It holds from the next request on.

    What was recorded is never changed, only withdrawn, so no version has to be named. With an `Idempotency-Key`, a
    request that comes again shows what the first one recorded.
    """
    given = consent.consent(ConsentId(services.new_id()), services.now())
    repeat = RepeatKey(key=idempotency_key, request=consent.canonical(patient_id)) if idempotency_key else None
    recorded, version = await consents.record(actor, patient_id, given, repeat=repeat)
    response.headers["ETag"] = f'"{version}"'
    return ConsentOut.of(recorded, services.now())


@router.post(
    "/{consent_id}/withdraw",
    responses={200: _ETAG, **documented(NotFound(), Conflict("the consent was withdrawn before"))},
)
async def withdraw_consent(
    patient_id: PatientId,
    consent_id: ConsentId,
    actor: CurrentActor,
    consents: Consents,
    services: RunningServices,
    response: Response,
) -> ConsentOut:
    """Withdraw a consent. From the next request on nobody sees anything under it.

    Nobody has to have seen its last version: a patient's right to take a consent back waits for nothing.
    """
    withdrawn, version = await consents.withdraw(actor, patient_id, consent_id)
    response.headers["ETag"] = f'"{version}"'
    return ConsentOut.of(withdrawn, services.now())
