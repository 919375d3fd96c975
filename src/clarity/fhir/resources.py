"""The parts of FHIR R4 resources that are mapped, typed. What is not named here is not decoded, and so not validated.

Codes with a required binding are enumerations. Strings that may be absent are empty; what has no empty form is `None`.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated

import msgspec

from clarity.domain.identifiers import IdentifierUse
from clarity.domain.names import NameUse
from clarity.domain.people import AddressType, AddressUse, BirthSex, Gender, TelecomSystem, TelecomUse

PositiveInt = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
Integer = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]


class Element(msgspec.Struct, rename="camel", gc=False):
    """What all parts of resources have in common: JSON names in camel case, and no content in `repr`."""

    def __repr__(self) -> str:
        """Name the type and nothing it holds."""
        return f"<{type(self).__name__}>"


class Period(Element):
    """A span of time; its bounds are `dateTime`s."""

    start: str = ""
    end: str = ""


class Coding(Element):
    """One code of one code system."""

    system: str = ""
    code: str = ""
    display: str = ""


class CodeableConcept(Element):
    """A meaning, as codes and as text."""

    coding: tuple[Coding, ...] = ()
    text: str = ""


class HumanName(Element):
    """A name. Parts are `None` where only an extension says something about them."""

    use: NameUse | None = None
    text: str = ""
    family: str = ""
    given: tuple[str | None, ...] = ()
    prefix: tuple[str | None, ...] = ()
    suffix: tuple[str | None, ...] = ()
    period: Period | None = None


class Identifier(Element):
    """A number somebody assigned."""

    use: IdentifierUse | None = None
    type: CodeableConcept | None = None
    system: str = ""
    value: str = ""
    period: Period | None = None


class ContactPoint(Element):
    """A way to reach somebody."""

    system: TelecomSystem | None = None
    value: str = ""
    use: TelecomUse | None = None
    rank: PositiveInt | None = None
    period: Period | None = None


class Address(Element):
    """A place; its coordinates are an extension."""

    extension: tuple[msgspec.Raw, ...] = ()
    use: AddressUse | None = None
    type: AddressType | None = None
    text: str = ""
    line: tuple[str | None, ...] = ()
    city: str = ""
    district: str = ""
    state: str = ""
    postal_code: str = ""
    country: str = ""
    period: Period | None = None


class Communication(Element):
    """A language the patient can be spoken to in."""

    language: CodeableConcept
    preferred: bool | None = None


class Contact(Element):
    """Somebody to call for the patient."""

    relationship: tuple[CodeableConcept, ...] = ()
    name: HumanName | None = None
    telecom: tuple[ContactPoint, ...] = ()
    address: Address | None = None
    gender: Gender | None = None
    period: Period | None = None


class Patient(Element, kw_only=True):
    """The patient: extensions stay undecoded until their URL is known."""

    id: str = ""
    extension: tuple[msgspec.Raw, ...] = ()
    identifier: tuple[Identifier, ...] = ()
    name: tuple[HumanName, ...] = ()
    telecom: tuple[ContactPoint, ...] = ()
    gender: Gender | None = None
    birth_date: str
    deceased_boolean: bool | None = None
    deceased_date_time: str | None = None
    address: tuple[Address, ...] = ()
    marital_status: CodeableConcept | None = None
    multiple_birth_boolean: bool | None = None
    multiple_birth_integer: Integer | None = None
    contact: tuple[Contact, ...] = ()
    communication: tuple[Communication, ...] = ()


class Practitioner(Element):
    """Somebody who cares for patients."""

    id: str = ""
    identifier: tuple[Identifier, ...] = ()
    active: bool | None = None
    name: tuple[HumanName, ...] = ()
    telecom: tuple[ContactPoint, ...] = ()
    address: tuple[Address, ...] = ()
    gender: Gender | None = None


class Reference(Element):
    """A reference to another resource; empty if it is known by an identifier or a display only."""

    reference: str = ""


class RoleReference(Reference):
    """A reference to a practitioner, who may be known by a number alone."""

    identifier: Identifier | None = None


class PractitionerRole(Element):
    """The part somebody has in an organisation: read for the practitioner it stands for, and their specialty."""

    id: str = ""
    active: bool | None = None
    practitioner: RoleReference | None = None
    specialty: tuple[CodeableConcept, ...] = ()


class EncounterStatus(StrEnum):
    """How far an encounter has come (FHIR R4, encounter-status)."""

    PLANNED = "planned"
    ARRIVED = "arrived"
    TRIAGED = "triaged"
    IN_PROGRESS = "in-progress"
    ON_LEAVE = "onleave"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    ENTERED_IN_ERROR = "entered-in-error"
    UNKNOWN = "unknown"


class EncounterParticipant(Element):
    """Somebody who was there."""

    individual: Reference | None = None


class Encounter(Element):
    """A visit, read for who cared for whom."""

    status: EncounterStatus | None = None
    subject: Reference | None = None
    participant: tuple[EncounterParticipant, ...] = ()


class CareTeamStatus(StrEnum):
    """Whether a care team is at work (FHIR R4, care-team-status)."""

    PROPOSED = "proposed"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    INACTIVE = "inactive"
    ENTERED_IN_ERROR = "entered-in-error"


class CareTeamParticipant(Element):
    """A member of a care team."""

    member: Reference | None = None


class CareTeam(Element):
    """Those who care for a patient together."""

    status: CareTeamStatus | None = None
    subject: Reference | None = None
    participant: tuple[CareTeamParticipant, ...] = ()


class NamedReference(Reference):
    """A reference with the name of what it leads to."""

    display: str = ""


class Meta(Element):
    """What a server knows of a resource."""

    last_updated: str = ""
    security: tuple[Coding, ...] = ()


class AppointmentStatus(StrEnum):
    """How far an appointment has come (FHIR R4, appointmentstatus)."""

    PROPOSED = "proposed"
    PENDING = "pending"
    BOOKED = "booked"
    ARRIVED = "arrived"
    FULFILLED = "fulfilled"
    CANCELLED = "cancelled"
    NO_SHOW = "noshow"
    ENTERED_IN_ERROR = "entered-in-error"
    CHECKED_IN = "checked-in"
    WAITLIST = "waitlist"


class ParticipationStatus(StrEnum):
    """Whether somebody comes to an appointment (FHIR R4, participationstatus)."""

    ACCEPTED = "accepted"
    DECLINED = "declined"
    TENTATIVE = "tentative"
    NEEDS_ACTION = "needs-action"


class AppointmentParticipant(Element):
    """Somebody or something that an appointment needs."""

    status: ParticipationStatus | None = None
    actor: NamedReference | None = None


class Appointment(Element, kw_only=True):
    """A time at which a patient is seen."""

    id: str = ""
    meta: Meta = msgspec.field(default_factory=Meta)
    status: AppointmentStatus
    cancelation_reason: CodeableConcept | None = None
    service_type: tuple[CodeableConcept, ...] = ()
    appointment_type: CodeableConcept | None = None
    reason_code: tuple[CodeableConcept, ...] = ()
    description: str = ""
    start: str = ""
    end: str = ""
    minutes_duration: PositiveInt | None = None
    comment: str = ""
    patient_instruction: str = ""
    participant: tuple[AppointmentParticipant, ...] = ()


class Quantity(Element):
    """An amount. Its number is taken digit by digit."""

    value: Decimal | None = None
    unit: str = ""
    code: str = ""


class Range(Element):
    """An amount between two others."""

    low: Quantity | None = None
    high: Quantity | None = None


class DoseAndRate(Element):
    """How much is taken at a time."""

    dose_quantity: Quantity | None = None
    dose_range: Range | None = None


class Repeat(Element):
    """When something is to happen."""

    bounds_period: Period | None = None
    count: PositiveInt | None = None
    frequency: PositiveInt | None = None
    frequency_max: PositiveInt | None = None
    period: Decimal | None = None
    period_max: Decimal | None = None
    period_unit: str = ""
    day_of_week: tuple[str, ...] = ()
    time_of_day: tuple[str, ...] = ()
    when: tuple[str, ...] = ()
    offset: Integer | None = None


class Timing(Element):
    """When something is to happen, and what that is called."""

    repeat: Repeat | None = None
    code: CodeableConcept | None = None


class DosageInstruction(Element):
    """How a medicine is to be taken."""

    text: str = ""
    additional_instruction: tuple[CodeableConcept, ...] = ()
    patient_instruction: str = ""
    timing: Timing | None = None
    as_needed_boolean: bool | None = None
    as_needed_codeable_concept: CodeableConcept | None = None
    route: CodeableConcept | None = None
    dose_and_rate: tuple[DoseAndRate, ...] = ()


class MedicationRequestStatus(StrEnum):
    """Where an order stands (FHIR R4, medicationrequest-status)."""

    ACTIVE = "active"
    ON_HOLD = "on-hold"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    ENTERED_IN_ERROR = "entered-in-error"
    STOPPED = "stopped"
    DRAFT = "draft"
    UNKNOWN = "unknown"


class MedicationRequestIntent(StrEnum):
    """Whether something is an order, or less (FHIR R4, medicationrequest-intent)."""

    PROPOSAL = "proposal"
    PLAN = "plan"
    ORDER = "order"
    ORIGINAL_ORDER = "original-order"
    REFLEX_ORDER = "reflex-order"
    FILLER_ORDER = "filler-order"
    INSTANCE_ORDER = "instance-order"
    OPTION = "option"


class MedicationRequest(Element, kw_only=True):
    """An order of a medicine; what is contained stays undecoded until it is referred to."""

    id: str = ""
    meta: Meta = msgspec.field(default_factory=Meta)
    contained: tuple[msgspec.Raw, ...] = ()
    status: MedicationRequestStatus
    status_reason: CodeableConcept | None = None
    intent: MedicationRequestIntent
    do_not_perform: bool = False
    medication_codeable_concept: CodeableConcept | None = None
    medication_reference: NamedReference | None = None
    subject: Reference | None = None
    authored_on: str = ""
    requester: NamedReference | None = None
    reason_code: tuple[CodeableConcept, ...] = ()
    reason_reference: tuple[NamedReference, ...] = ()
    dosage_instruction: tuple[DosageInstruction, ...] = ()


class Subjected(Element):
    """A resource that is about somebody."""

    subject: Reference | None = None


class Coded(Element):
    """A resource that is referred to for what it means: a medicine, or a condition."""

    id: str = ""
    code: CodeableConcept | None = None


class DocumentStatus(StrEnum):
    """Whether a reference to a document holds (FHIR R4, document-reference-status)."""

    CURRENT = "current"
    SUPERSEDED = "superseded"
    ENTERED_IN_ERROR = "entered-in-error"


class CompositionStatus(StrEnum):
    """How far a document has come (FHIR R4, composition-status)."""

    PRELIMINARY = "preliminary"
    FINAL = "final"
    AMENDED = "amended"
    ENTERED_IN_ERROR = "entered-in-error"


class Attachment(Element):
    """Content of some type, here or elsewhere."""

    content_type: str = ""
    data: str = ""
    url: str = ""
    title: str = ""


class DocumentContent(Element):
    """A document in one form."""

    attachment: Attachment = msgspec.field(default_factory=Attachment)


class DocumentContext(Element):
    """On what occasion a document was written."""

    encounter: tuple[Reference, ...] = ()
    period: Period | None = None


class DocumentReference(Element, kw_only=True):
    """A document, in one form or several."""

    id: str = ""
    meta: Meta = msgspec.field(default_factory=Meta)
    status: DocumentStatus
    doc_status: CompositionStatus | None = None
    type: CodeableConcept | None = None
    subject: Reference | None = None
    date: str = ""
    author: tuple[NamedReference, ...] = ()
    description: str = ""
    security_label: tuple[CodeableConcept, ...] = ()
    content: tuple[DocumentContent, ...] = ()
    context: DocumentContext = msgspec.field(default_factory=DocumentContext)


class BundleType(StrEnum):
    """What a bundle is for (FHIR R4, bundle-type)."""

    DOCUMENT = "document"
    MESSAGE = "message"
    TRANSACTION = "transaction"
    TRANSACTION_RESPONSE = "transaction-response"
    BATCH = "batch"
    BATCH_RESPONSE = "batch-response"
    HISTORY = "history"
    SEARCHSET = "searchset"
    COLLECTION = "collection"


class Entry(Element):
    """One resource of a bundle, not decoded until its type is known."""

    full_url: str = ""
    resource: msgspec.Raw = msgspec.Raw(b"null")


class Bundle(Element):
    """Resources that travel together."""

    type: BundleType
    entry: tuple[Entry, ...] = ()


class Head(Element):
    """What any resource says of itself first."""

    resource_type: str


class Identified(Element):
    """What tells a resource from all others of its type."""

    id: str = ""
    identifier: tuple[Identifier, ...] = ()


class ExtensionHead(Element):
    """What any extension says of itself first."""

    url: str


class StringExtension(Element):
    """An extension by a text."""

    value_string: str


class BirthSexExtension(Element):
    """The sex on the birth certificate (US Core)."""

    value_code: BirthSex


class AddressExtension(Element):
    """An extension by a place."""

    value_address: Address


class CategoryPart(Element):
    """One of the parts of a race or ethnicity (US Core): `ombCategory`, `detailed` or `text`."""

    url: str
    value_coding: Coding | None = None
    value_string: str = ""


class CategoryExtension(Element):
    """A race or ethnicity (US Core)."""

    extension: tuple[CategoryPart, ...] = ()


class Coordinate(Element):
    """A latitude or a longitude, in degrees."""

    url: str
    value_decimal: float | None = None


class GeolocationExtension(Element):
    """The coordinates of an address."""

    extension: tuple[Coordinate, ...] = ()
