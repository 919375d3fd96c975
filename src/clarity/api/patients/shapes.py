"""The shapes of patient records."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import (
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, to_json

from clarity.api.faults import faults_in
from clarity.api.people import (
    AddressInOut,
    CategoryInOut,
    ConceptInOut,
    ContactInOut,
    DeathInOut,
    IdentifierInOut,
    InsuranceInOut,
    LanguageInOut,
    NameInOut,
    TelecomInOut,
)
from clarity.api.wire import Day, Limit, PageOut, PartialDateText, Received, Wire, fault, renamed
from clarity.application.pages import MAX_PAGE
from clarity.application.ports import PatientFilter, Revision
from clarity.domain.access import PART2_NOTICE
from clarity.domain.errors import Invalid
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.likeness import MOST_ALIKE, Resembling, SimilarQuery
from clarity.domain.patients import Patient, PatientQuery, PatientSort, PatientStatus
from clarity.domain.people import BirthSex, Gender
from clarity.domain.records import Label

LAST_VERSION = 2**31 - 1
"""The greatest version that both databases can be asked about."""

EXAMPLE: dict[str, Any] = {
    "names": [
        {"use": "official", "prefix": ["Dr."], "given": ["María", "José"], "family": "Alcántar"},
        {"use": "nickname", "given": ["Marijo"]},
    ],
    "born": "1985-04-12",
    "gender": "female",
    "identifiers": [{"kind": "mrn", "value": "MRN-204817"}, {"kind": "ssn", "value": "999-21-4813"}],
    "telecoms": [
        {"system": "phone", "value": "+1 617 555 0143", "use": "mobile", "rank": 1},
        {"system": "email", "value": "marijo@example.org"},
    ],
    "addresses": [{"use": "home", "lines": ["48 Juniper Lane"], "city": "Springfield", "state": "MA", "country": "US"}],
    "languages": [{"language": {"text": "Spanish"}, "preferred": True}],
    "contacts": [
        {
            "name": {"given": ["Inés"], "family": "Alcántar"},
            "relationships": [{"text": "sister"}],
            "telecoms": [{"system": "phone", "value": "+1 617 555 0178"}],
        }
    ],
    "insurances": [{"payer": "Blue Harbor Health", "member_id": "BHH-55120-03", "plan": "PPO"}],
}
WITH_NOTES: dict[str, Any] = {**EXAMPLE, "notes": "Prefers appointments in the morning."}
SHOWN: dict[str, Any] = {
    **WITH_NOTES,
    "id": "019a9d5c-3f1e-7c41-a6d5-0b1f6c2e8d37",
    "version": 3,
    "status": "discharged",
    "age": 40,
    "discharged": "2026-03-14",
    "care_team": ["019a9d5c-41aa-7d02-8f7c-5e2b9c6d1a08"],
    "label": "part2",
    "notice": {
        "text": PART2_NOTICE,
        "consent": "019a9d5c-60b1-7e52-9a4c-77d0a2b1c3e4",
        "scope": "Records of my substance use treatment · from Harbor Recovery Program · to My treating providers"
        " · for treatment · until 2027-03-14T00:00:00+00:00",
    },
}


def _births(value: object) -> object:
    if not isinstance(value, bool | int):
        raise fault("must be true, false or the place among the births")
    return value


MultipleBirth = Annotated[
    bool | int, PlainValidator(_births), WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "integer"}]})
]


class PatientFields(Wire):
    """What is recorded about a patient."""

    names: tuple[NameInOut, ...]
    """At least one. The patient goes by the first that is neither old nor a maiden name."""
    born: PartialDateText
    """The date of birth, as exactly as it is known."""
    gender: Gender = Gender.UNKNOWN
    identifiers: tuple[IdentifierInOut, ...] = ()
    telecoms: tuple[TelecomInOut, ...] = ()
    addresses: tuple[AddressInOut, ...] = ()
    birth_sex: BirthSex | None = None
    marital_status: ConceptInOut | None = None
    languages: tuple[LanguageInOut, ...] = ()
    death: DeathInOut | None = None
    race: CategoryInOut | None = None
    ethnicity: CategoryInOut | None = None
    mothers_maiden_name: str = ""
    birth_place: AddressInOut | None = None
    multiple_birth: MultipleBirth | None = None
    """Whether the patient is a twin or the like, or which of them in order of birth."""
    contacts: tuple[ContactInOut, ...] = ()
    insurances: tuple[InsuranceInOut, ...] = ()
    notes: str = ""
    """The practice's working notes about the patient."""
    label: Label = Label.NORMAL
    """A patient record is `normal`, `restricted` to the care team and the patient, or `part2` (42 CFR Part 2), shown to
    the care team under a consent in force."""


class PatientIn(PatientFields, Received):
    """What is recorded about a patient, whole: a field that is left out is recorded as empty."""

    model_config = ConfigDict(json_schema_extra={"examples": [WITH_NOTES]})

    def replacing(self, patient: Patient) -> Patient:
        """Return `patient` with this content. What cannot be written here stays: care team, discharge, sources."""
        return replace(patient, **self.content())


class RegistrationIn(PatientFields, Received):
    """A patient to be registered."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    care_team: Annotated[tuple[PractitionerId, ...], Field(max_length=MAX_PAGE)] = ()
    """The practitioners who care for the patient. Clinicians and nurses see the patients in whose team they are."""

    @property
    def canonical(self) -> bytes:
        """This request in one spelling, by which a repetition of it is recognised."""
        return b"register patient " + self.model_dump_json().encode()

    def patient(self, patient_id: PatientId) -> Patient:
        """Return the patient described, as `patient_id`."""
        content = self.content()
        return Patient(id=patient_id, care_team=frozenset(content.pop("care_team")), **content)


class PatientPatchIn(Wire):
    """A JSON Merge Patch (RFC 7396) of what is recorded about a patient.

    A field that is left out stays, null empties it (`{"birth_place": null}`), an object is merged, and a list takes the
    place of the one before.
    """

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"examples": [{"marital_status": {"text": "married"}, "notes": "Moved in May."}]},
    )

    __pydantic_extra__: dict[str, Any]

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe the fields of `PatientIn`, each of which may be left out or null."""
        described = handler.resolve_ref_schema(handler(schema))
        whole = handler.resolve_ref_schema(handler(PatientIn.__pydantic_core_schema__))
        properties = {name: _or_null(field) for name, field in whole["properties"].items()}
        return {**described, "properties": properties, "additionalProperties": False}

    def changing(self, patient: Patient) -> Patient:
        """Return `patient` as this patch changes it. Raises `Invalid` naming the first field that breaks a rule."""
        recorded = PatientIn.model_validate(patient).model_dump(mode="json")
        try:
            # Through bytes, since only JSON that pydantic parses is read as strictly as a whole record is.
            changed = PatientIn.model_validate_json(to_json(merged(recorded, self.__pydantic_extra__)))
        except ValidationError as exc:
            first = faults_in(exc.errors())[0]
            raise Invalid(first.field, first.rule) from None
        return changed.replacing(patient)


def _or_null(schema: JsonSchemaValue) -> JsonSchemaValue:
    """Return what allows null besides; no default, since what is left out of a patch is not set to it."""
    kind = {name: value for name, value in schema.items() if name != "default"}
    return kind if {"type": "null"} in kind.get("anyOf", ()) else {"anyOf": [kind, {"type": "null"}]}


def merged(target: object, patch: object) -> object:
    """Return `target` as `patch` changes it: the algorithm of RFC 7396, section 2."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


class CareTeamInOut(Received):
    """The practitioners who care for a patient from now on."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"practitioners": ["019a9d5c-41aa-7d02-8f7c-5e2b9c6d1a08"]}]}
    )

    practitioners: Annotated[tuple[PractitionerId, ...], Field(max_length=MAX_PAGE)]


class LabelIn(Received):
    """How confidential a record is from now on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"label": "part2", "lose_sight": False}]})

    label: Label
    lose_sight: bool = False
    """Whether the caller means it even if they may not see the record any more."""


def _all_present(schema: dict[str, Any]) -> None:
    schema.update(examples=[SHOWN], required=list(schema["properties"]))


class NoticeOut(Wire):
    """What goes with a record under 42 CFR Part 2 wherever it goes (42 CFR 2.32)."""

    text: str
    """The statement of the rule."""
    consent: UUID | None
    """The consent that the record is shown under; null for its author and in an emergency."""
    scope: str
    """What that consent allows, in words."""


class PatientOut(PatientFields):
    """A patient, as far as the caller's role sees them: a field that is not theirs to see looks empty.

    Names and date of birth are always shown.
    """

    model_config = ConfigDict(json_schema_extra=_all_present)

    id: PatientId
    version: int
    """Rises by one with each change. The `ETag` is the same in quotation marks."""
    status: PatientStatus
    age: int
    """The years completed by today, also of the deceased; the most it can be if the birth date is not exact."""
    discharged: date | None
    care_team: tuple[PractitionerId, ...]
    notice: NoticeOut | None
    """What has to go with this record if it is passed on; null for the patient, and if it is not under Part 2."""

    @classmethod
    def of(cls, patient: Patient, today: date) -> Self:
        """Return the shape of `patient` on the day that is `today` in the practice."""
        recorded = {name: getattr(patient, name) for name in PatientFields.model_fields}
        return cls(
            id=patient.id,
            version=patient.version,
            status=patient.status,
            age=patient.age_on(today),
            discharged=patient.discharged,
            care_team=tuple(sorted(patient.care_team)),
            notice=None if patient.notice is None else NoticeOut.model_validate(patient.notice),
            **recorded,
        )


class PatientPageOut(PageOut[PatientOut]):
    """Some of the patients the caller may see."""


class RevisionOut(Wire):
    """One version of a patient record as it was."""

    version: int
    written_at: datetime
    written_by: UUID
    """The account that wrote it."""
    patient: PatientOut

    @classmethod
    def of(cls, revision: Revision, today: date) -> Self:
        """Return the shape of `revision`."""
        return cls(
            version=revision.version,
            written_at=revision.written_at,
            written_by=revision.written_by,
            patient=PatientOut.of(revision.patient, today),
        )


class HistoryOut(Wire):
    """Versions of a patient record, the newest first."""

    items: tuple[RevisionOut, ...]
    next_before: int | None
    """What to ask for as `before` to go on; null behind the first version."""


class PatientListQuery(Wire):
    """Which of the patients that the caller may see are listed."""

    model_config = ConfigDict(strict=False, extra="forbid")

    status: PatientStatus | None = None
    practitioner: PractitionerId | None = None
    """Patients with this practitioner in their care team."""
    cursor: str = ""
    """The `next_cursor` of the page before."""
    limit: Limit = 50

    def conditions(self) -> PatientFilter:
        """Return what is asked of each patient."""
        return PatientFilter(status=self.status, practitioner=self.practitioner)


class HistoryQuery(Wire):
    """Which versions are shown."""

    model_config = ConfigDict(strict=False, extra="forbid")

    before: Annotated[int | None, Field(ge=1, le=LAST_VERSION)] = None
    """Versions below this one."""
    limit: Limit = 20


class IdentifierQueryIn(Received):
    """An identifier other than MRN and social security number."""

    value: str
    system: str = ""
    """The URI of whoever assigned it; "" for any."""


class PatientSearchIn(Received):
    """Which patients are looked for. Conditions add up; one that is left out allows everybody."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "alcantar mar", "min_age": 18, "gender": "female", "status": "active"}]
        }
    )

    name: str = ""
    """Fragments, each of which occurs in one and the same name of the patient. Case, accents, apostrophes and hyphens
    do not matter."""
    mrn: str = ""
    ssn: str = ""
    email: str = ""
    phone: str = ""
    identifier: IdentifierQueryIn | None = None
    min_age: int | None = None
    """Completed years, included. A birth date that is not exact matches if any day it can mean would."""
    max_age: int | None = None
    born_from: Day | None = None
    born_to: Day | None = None
    gender: Gender | None = None
    birth_sex: BirthSex | None = None
    status: PatientStatus | None = None
    practitioner: PractitionerId | None = None
    """Patients with this practitioner in their care team."""
    sort: PatientSort = PatientSort.NAME
    """By `age`, the youngest come first; by `changed`, those whose records changed last."""
    descending: bool = False
    cursor: str | None = None
    """The `next_cursor` of the page before."""
    limit: Limit = 50

    def query(self) -> PatientQuery:
        """Return the query described. Raises `Invalid` if nobody could match."""
        asked = self.model_dump(exclude={"identifier", "cursor", "limit"})
        if self.identifier is not None:
            asked.update(identifier=self.identifier.value, identifier_system=self.identifier.system)
        with renamed(identifier="identifier.value", identifier_system="identifier.system"):
            return PatientQuery(**asked)


class PatientSimilarIn(Received):
    """A name as it was heard."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Marea Alkantar", "born": "1985"}]})

    name: str
    """One name or several of a person, in any order, up to ten words; each has to be like a word of one and the same
    name of the patient: it is part of it, few letters differ, or they sound alike."""
    born: PartialDateText | None = None
    """The date of birth, as far as it is known: those born otherwise come behind."""
    limit: Annotated[int, Field(ge=1, le=MOST_ALIKE)] = 20

    def query(self) -> SimilarQuery:
        """Return the query described. Raises `Invalid` if there is nothing to compare."""
        return SimilarQuery(name=self.name, born=self.born)


class SimilarOut(Wire):
    """A patient whose name is like the one that was heard."""

    score: float
    """How much, from 0 to 1. From 0.9 on, each word is part of the name, and 1 is the name itself; below, letters
    differ or the sound is the same. Those born otherwise have half of that."""
    patient: PatientOut

    @classmethod
    def of(cls, one: Resembling, today: date) -> Self:
        """Return the shape of `one` on the day that is `today` in the practice."""
        return cls(score=one.score, patient=PatientOut.of(one.patient, today))


class SimilarPageOut(PageOut[SimilarOut]):
    """The patients whose names are most like the one that was heard, the most alike first. It is the only page."""
