"""The shapes of what is known about people. They add no rules: those stand in the domain, for imports too."""

from typing import ClassVar

from pydantic import ConfigDict

from clarity.api.wire import Instant, PartialDateText, Value
from clarity.domain.identifiers import Identifier, IdentifierKind, IdentifierUse
from clarity.domain.names import HumanName, NameUse, Period
from clarity.domain.patients import Death
from clarity.domain.people import (
    Address,
    AddressType,
    AddressUse,
    Category,
    Coding,
    Concept,
    EmergencyContact,
    Gender,
    Insurance,
    Language,
    Telecom,
    TelecomSystem,
    TelecomUse,
)


class PeriodInOut(Value):
    """The days from `start` to `end`, both included; an absent bound is open."""

    means: ClassVar = Period
    start: PartialDateText | None = None
    end: PartialDateText | None = None


class CodingInOut(Value):
    """One code of one code system. Needs a code or a display."""

    means: ClassVar = Coding
    system: str = ""
    code: str = ""
    display: str = ""


class ConceptInOut(Value):
    """A meaning, as codes and as the text somebody chose (FHIR CodeableConcept). Needs one of both."""

    means: ClassVar = Concept
    codings: tuple[CodingInOut, ...] = ()
    text: str = ""


class NameInOut(Value):
    """A name of a person: in parts, or as `text` where the parts are not known."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"use": "official", "prefix": ["Dr."], "given": ["María", "José"], "family": "Alcántar"}]
        }
    )
    means: ClassVar = HumanName
    family: str = ""
    given: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()
    suffix: tuple[str, ...] = ()
    text: str = ""
    use: NameUse | None = None
    period: PeriodInOut | None = None


class IdentifierInOut(Value):
    """A number somebody assigned to the patient. An MRN is unique within its `system`, where "" is this practice."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"kind": "mrn", "value": "MRN-204817"},
                {"kind": "ssn", "value": "999-21-4813"},
                {"kind": "passport", "value": "X31726450X", "system": "http://hl7.org/fhir/sid/passport-USA"},
            ]
        }
    )
    means: ClassVar = Identifier
    kind: IdentifierKind
    value: str
    """A social security number may be grouped in any way; it is kept as AAA-GG-SSSS."""
    system: str = ""
    """The URI of whoever assigned it. A social security number needs none."""
    use: IdentifierUse | None = None
    type: ConceptInOut | None = None
    period: PeriodInOut | None = None


class TelecomInOut(Value):
    """A way to reach a person."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"system": "phone", "value": "+1 617 555 0143", "use": "mobile", "rank": 1}]}
    )
    means: ClassVar = Telecom
    system: TelecomSystem
    value: str
    use: TelecomUse | None = None
    rank: int | None = None
    """1 is tried first."""
    period: PeriodInOut | None = None


class AddressInOut(Value):
    """A place to visit or to write to; coordinates in degrees (WGS 84)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "use": "home",
                    "lines": ["48 Juniper Lane", "Apt 3"],
                    "city": "Springfield",
                    "state": "MA",
                    "postal_code": "01109",
                    "country": "US",
                }
            ]
        }
    )
    means: ClassVar = Address
    lines: tuple[str, ...] = ()
    city: str = ""
    district: str = ""
    state: str = ""
    postal_code: str = ""
    country: str = ""
    text: str = ""
    use: AddressUse | None = None
    type: AddressType | None = None
    period: PeriodInOut | None = None
    latitude: float | None = None
    longitude: float | None = None


class DeathInOut(Value):
    """That the patient died, and when, as exactly as that is known; `{}` if only that they died."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"day": "2026-03"}]})
    means: ClassVar = Death
    day: PartialDateText | None = None
    instant: Instant | None = None


class CategoryInOut(Value):
    """A race or ethnicity as US Core records it: OMB categories, detailed codes and the person's own words."""

    means: ClassVar = Category
    text: str
    omb: tuple[CodingInOut, ...] = ()
    detailed: tuple[CodingInOut, ...] = ()


class LanguageInOut(Value):
    """A language the person can be spoken to in."""

    means: ClassVar = Language
    language: ConceptInOut
    preferred: bool | None = None


class ContactInOut(Value):
    """Somebody to call for the patient. Needs a name, a telecom or an address."""

    means: ClassVar = EmergencyContact
    name: NameInOut | None = None
    relationships: tuple[ConceptInOut, ...] = ()
    telecoms: tuple[TelecomInOut, ...] = ()
    address: AddressInOut | None = None
    gender: Gender | None = None
    period: PeriodInOut | None = None


class InsuranceInOut(Value):
    """A coverage of the patient."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"payer": "Blue Harbor Health", "member_id": "BHH-55120-03", "plan": "PPO"}]}
    )
    means: ClassVar = Insurance
    payer: str
    member_id: str
    plan: str = ""
    group: str = ""
    subscriber: NameInOut | None = None
    period: PeriodInOut | None = None
