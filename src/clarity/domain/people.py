"""What is known about people besides their names: codes, contact details, addresses, insurance."""

import re
from dataclasses import dataclass
from enum import StrEnum

from clarity.domain.errors import Invalid
from clarity.domain.names import HumanName, Period
from clarity.domain.values import MAX_INTEGER, Confidential, allow_text, allow_texts, require_few, require_text

# One @ with something on both sides and no space: whether an address is reachable only a message can show.
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


class Gender(StrEnum):
    """The gender for administrative purposes (FHIR R4, administrative-gender)."""

    MALE = "male"
    FEMALE = "female"
    OTHER = "other"
    UNKNOWN = "unknown"


class BirthSex(StrEnum):
    """The sex on the birth certificate (US Core, birthsex)."""

    FEMALE = "F"
    MALE = "M"
    OTHER = "OTH"
    UNKNOWN = "UNK"
    ASKED_BUT_UNKNOWN = "ASKU"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Coding(Confidential):
    """One code of one code system."""

    system: str = ""
    code: str = ""
    display: str = ""

    def __post_init__(self) -> None:
        """Raise `Invalid` if it has neither code nor display."""
        for field in ("system", "code", "display"):
            allow_text(field, getattr(self, field))
        if not self.code and not self.display:
            raise Invalid("code", "a coding needs a code or a display")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Concept(Confidential):
    """A meaning, as codes and as the text somebody chose (FHIR `CodeableConcept`)."""

    codings: tuple[Coding, ...] = ()
    text: str = ""

    def __post_init__(self) -> None:
        """Raise `Invalid` if it means nothing."""
        require_few("codings", self.codings, at_most=20)
        allow_text("text", self.text)
        if not self.codings and not self.text:
            raise Invalid("text", "a concept needs a coding or a text")

    def __str__(self) -> str:
        """Return the words for it: the text, or the first display or code."""
        return self.text or next((coding.display or coding.code for coding in self.codings), "")


class TelecomSystem(StrEnum):
    """The kind of a contact point (FHIR R4, contact-point-system)."""

    PHONE = "phone"
    FAX = "fax"
    EMAIL = "email"
    PAGER = "pager"
    URL = "url"
    SMS = "sms"
    OTHER = "other"


class TelecomUse(StrEnum):
    """Where a contact point reaches the person (FHIR R4, contact-point-use)."""

    HOME = "home"
    WORK = "work"
    TEMP = "temp"
    OLD = "old"
    MOBILE = "mobile"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Telecom(Confidential):
    """A way to reach a person; `rank` 1 is tried first."""

    system: TelecomSystem
    value: str
    use: TelecomUse | None = None
    rank: int | None = None
    period: Period | None = None

    def __post_init__(self) -> None:
        """Raise `Invalid` if there is nothing to call or write to."""
        require_text("value", self.value, at_most=320)
        if self.system is TelecomSystem.EMAIL and not _EMAIL.fullmatch(self.value.strip()):
            raise Invalid("value", "must be an e-mail address")
        if self.rank is not None and not 1 <= self.rank <= MAX_INTEGER:
            raise Invalid("rank", f"must be from 1 to {MAX_INTEGER}")


class AddressUse(StrEnum):
    """What an address is used for (FHIR R4, address-use)."""

    HOME = "home"
    WORK = "work"
    TEMP = "temp"
    OLD = "old"
    BILLING = "billing"


class AddressType(StrEnum):
    """Whether an address is for visits, for post or for both (FHIR R4, address-type)."""

    POSTAL = "postal"
    PHYSICAL = "physical"
    BOTH = "both"


_PARTS = ("city", "district", "state", "postal_code", "country", "text")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Address(Confidential):
    """A place to visit or to write to; coordinates in degrees (WGS 84)."""

    lines: tuple[str, ...] = ()
    city: str = ""
    district: str = ""
    state: str = ""
    postal_code: str = ""
    country: str = ""
    text: str = ""
    use: AddressUse | None = None
    type: AddressType | None = None
    period: Period | None = None
    latitude: float | None = None
    longitude: float | None = None

    def __post_init__(self) -> None:
        """Raise `Invalid` if it says nothing about where."""
        require_few("lines", self.lines, at_most=10)
        allow_texts("lines", self.lines)
        filled = [(field, text) for field in _PARTS if (text := getattr(self, field))]
        for field, text in filled:
            allow_text(field, text)
        if not self.lines and not filled:
            raise Invalid("lines", "an address needs at least one part")
        if self.latitude is not None and not -90 <= self.latitude <= 90:
            raise Invalid("latitude", "must be from -90 to 90 degrees")
        if self.longitude is not None and not -180 <= self.longitude <= 180:
            raise Invalid("longitude", "must be from -180 to 180 degrees")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Category(Confidential):
    """A race or ethnicity as US Core records it: OMB categories, detailed codes and the person's own words."""

    text: str
    omb: tuple[Coding, ...] = ()
    detailed: tuple[Coding, ...] = ()

    def __post_init__(self) -> None:
        """Raise `Invalid` without a text, which US Core requires."""
        require_text("text", self.text)
        require_few("omb", self.omb, at_most=6)
        require_few("detailed", self.detailed)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Language(Confidential):
    """A language the person can be spoken to in."""

    language: Concept
    preferred: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EmergencyContact(Confidential):
    """Somebody to call for the patient."""

    name: HumanName | None = None
    relationships: tuple[Concept, ...] = ()
    telecoms: tuple[Telecom, ...] = ()
    address: Address | None = None
    gender: Gender | None = None
    period: Period | None = None

    def __post_init__(self) -> None:
        """Raise `Invalid` if nobody could be called or written to."""
        require_few("relationships", self.relationships, at_most=20)
        require_few("telecoms", self.telecoms, at_most=20)
        if self.name is None and not self.telecoms and self.address is None:
            raise Invalid("name", "a contact needs a name, a telecom or an address")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Insurance(Confidential):
    """A coverage of the patient."""

    payer: str
    member_id: str
    plan: str = ""
    group: str = ""
    subscriber: HumanName | None = None
    period: Period | None = None

    def __post_init__(self) -> None:
        """Raise `Invalid` without payer and member number."""
        require_text("payer", self.payer)
        require_text("member_id", self.member_id, at_most=100)
        allow_text("plan", self.plan)
        allow_text("group", self.group)
