"""The parts of FHIR R4 resources that are mapped, typed. What is not named here is not decoded, and so not validated.

Codes with a required binding are enumerations. Strings that may be absent are empty; what has no empty form is `None`.
"""

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
