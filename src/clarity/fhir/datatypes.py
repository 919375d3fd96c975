"""FHIR data types, in (`read_…`) and out (`write_…`). What is absent outside is empty or `None` inside.

An element that says nothing (an identifier without a value, an address of use "home" and nothing else) is left out.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from msgspec import Raw

from clarity.domain.dates import PartialDate
from clarity.domain.errors import Invalid
from clarity.domain.identifiers import SSN_SYSTEM, Identifier, IdentifierKind
from clarity.domain.names import HumanName, Period
from clarity.domain.people import Address, Coding, Concept, Telecom, TelecomSystem
from clarity.domain.values import within
from clarity.fhir import resources
from clarity.fhir.decoding import decode

Json = dict[str, Any]
Outer = TypeVar("Outer")
Inner = TypeVar("Inner")

GEOLOCATION = "http://hl7.org/fhir/StructureDefinition/geolocation"
IDENTIFIER_TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"
# Servers that began before R4 still write the address that the code system had until then.
_IDENTIFIER_TYPES = {IDENTIFIER_TYPES, "http://hl7.org/fhir/v2/0203", "http://hl7.org/fhir/identifier-type", ""}
_KINDS = {
    "MR": IdentifierKind.MRN,
    "SS": IdentifierKind.SSN,
    "DL": IdentifierKind.DRIVERS_LICENSE,
    "PPN": IdentifierKind.PASSPORT,
}
_TYPES = {kind: code for code, kind in _KINDS.items()}
# FHIR R4, 2.24.0.1: a time needs seconds and an offset.
_DATE_TIME = re.compile(
    r"(\d{4}(?:-\d{2}(?:-\d{2})?)?)(?:(?<=-\d{2}-\d{2})T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2}))?", re.ASCII
)


def read_each(field: str, elements: Iterable[Outer], read: Callable[[Outer], Inner]) -> tuple[Inner, ...]:
    """Return what `read` makes of each element; an `Invalid` names the element by its position."""
    found = []
    for position, element in enumerate(elements):
        with within(f"{field}.{position}"):
            found.append(read(element))
    return tuple(found)


def without_blanks(**parts: object) -> Json:
    """Return the parts that say something, under their FHIR names; `False` and 0 do."""
    return {name: list(part) if isinstance(part, tuple) else part for name, part in parts.items() if _says(part)}


def read_date_time(text: str) -> tuple[PartialDate, datetime | None]:
    """Return the day a FHIR `dateTime` names where it was written, and the instant if it has a time.

    The instant keeps its offset from UTC, so that the day stays known.
    """
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        raise Invalid("", "must be a date, or a date and time with an offset from UTC")
    day = PartialDate.parse(match[1])
    if "T" not in text:
        return day, None
    try:
        # A leap second is taken for the second before it: the clocks of Python have none.
        instant = datetime.fromisoformat(re.sub(r":60(?=[.Z+-])", ":59", text))
        instant.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid("", "must be a time of the clock") from None
    return day, instant


def read_period(period: resources.Period | None) -> Period | None:
    """Return the days of a period; times of day are dropped."""
    if period is None or not (period.start or period.end):
        return None
    with within("period"):
        bounds: dict[str, PartialDate] = {}
        for name, text in (("start", period.start), ("end", period.end)):
            if text:
                with within(name):
                    bounds[name] = read_date_time(text)[0]
        return Period(**bounds)


def write_period(period: Period | None) -> Json | None:
    """Return a FHIR `Period`."""
    if period is None:
        return None
    return without_blanks(start=period.start and str(period.start), end=period.end and str(period.end))


def read_coding(coding: resources.Coding) -> Coding:
    """Return one code."""
    return Coding(system=coding.system, code=coding.code, display=coding.display)


def write_coding(coding: Coding) -> Json:
    """Return a FHIR `Coding`."""
    return without_blanks(system=coding.system, code=coding.code, display=coding.display)


def read_concept(concept: resources.CodeableConcept | None) -> Concept | None:
    """Return a meaning."""
    if concept is None or not (concept.coding or concept.text):
        return None
    return Concept(codings=read_each("coding", concept.coding, read_coding), text=concept.text)


def write_concept(concept: Concept | None) -> Json | None:
    """Return a FHIR `CodeableConcept`."""
    if concept is None:
        return None
    return without_blanks(coding=tuple(map(write_coding, concept.codings)), text=concept.text)


def read_name(name: resources.HumanName) -> HumanName:
    """Return a name of a person."""
    return HumanName(
        use=name.use,
        text=name.text,
        family=name.family,
        given=_texts(name.given),
        prefix=_texts(name.prefix),
        suffix=_texts(name.suffix),
        period=read_period(name.period),
    )


def write_name(name: HumanName) -> Json:
    """Return a FHIR `HumanName`."""
    return without_blanks(
        use=name.use,
        text=name.text,
        family=name.family,
        given=name.given,
        prefix=name.prefix,
        suffix=name.suffix,
        period=write_period(name.period),
    )


def read_identifiers(identifiers: Iterable[resources.Identifier]) -> tuple[Identifier, ...]:
    """Return the identifiers that have a value."""
    found = read_each("identifier", identifiers, _read_identifier)
    return tuple(identifier for identifier in found if identifier is not None)


def write_identifier(identifier: Identifier) -> Json:
    """Return a FHIR `Identifier`; where the type is not known, the kind says it."""
    kind = write_concept(identifier.type)
    if kind is None and identifier.kind in _TYPES:
        kind = {"coding": [{"system": IDENTIFIER_TYPES, "code": _TYPES[identifier.kind]}]}
    return without_blanks(
        use=identifier.use,
        type=kind,
        system=identifier.system,
        value=identifier.value,
        period=write_period(identifier.period),
    )


def read_telecoms(telecoms: Iterable[resources.ContactPoint]) -> tuple[Telecom, ...]:
    """Return the contact points that have a value."""
    found = read_each("telecom", telecoms, _read_telecom)
    return tuple(telecom for telecom in found if telecom is not None)


def write_telecom(telecom: Telecom) -> Json:
    """Return a FHIR `ContactPoint`."""
    return without_blanks(
        system=telecom.system,
        value=telecom.value,
        use=telecom.use,
        rank=telecom.rank,
        period=write_period(telecom.period),
    )


def read_addresses(addresses: Iterable[resources.Address]) -> tuple[Address, ...]:
    """Return the addresses that have any part."""
    found = read_each("address", addresses, read_address)
    return tuple(address for address in found if address is not None)


def read_address(address: resources.Address) -> Address | None:
    """Return a place, or `None` if nothing is said about where it is."""
    lines = _texts(address.line)
    parts = (address.city, address.district, address.state, address.postal_code, address.country, address.text)
    if not lines and not any(parts):
        return None
    latitude, longitude = _read_coordinates(address)
    return Address(
        use=address.use,
        type=address.type,
        text=address.text,
        lines=lines,
        city=address.city,
        district=address.district,
        state=address.state,
        postal_code=address.postal_code,
        country=address.country,
        period=read_period(address.period),
        latitude=latitude,
        longitude=longitude,
    )


def write_address(address: Address) -> Json:
    """Return a FHIR `Address`, its coordinates as an extension."""
    coordinates = [
        {"url": name, "valueDecimal": degrees}
        for name, degrees in (("latitude", address.latitude), ("longitude", address.longitude))
        if degrees is not None
    ]
    return without_blanks(
        extension=({"url": GEOLOCATION, "extension": coordinates},) if coordinates else (),
        use=address.use,
        type=address.type,
        text=address.text,
        line=address.lines,
        city=address.city,
        district=address.district,
        state=address.state,
        postalCode=address.postal_code,
        country=address.country,
        period=write_period(address.period),
    )


def known_extensions(extensions: Iterable[Raw], shapes: Mapping[str, type[resources.Element]]) -> Json:
    """Return the extensions whose URL is in `shapes`, decoded, by URL. Raises `Invalid` if one is given twice."""
    found: Json = {}
    for position, extension in enumerate(extensions):
        with within(f"extension.{position}"):
            url = decode(extension, resources.ExtensionHead).url
            if url in found:
                raise Invalid("url", "was given before and may be given only once")
            if shape := shapes.get(url):
                found[url] = decode(extension, shape)
    return found


def _says(part: object) -> bool:
    return part is not None and part not in ("", (), {})


def _texts(parts: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(part for part in parts if part)


def _read_identifier(identifier: resources.Identifier) -> Identifier | None:
    if not identifier.value.strip():
        return None
    with within("type"):
        concept = read_concept(identifier.type)
    kind = _kind_of(identifier)
    facts: Json = {
        "value": identifier.value,
        "system": identifier.system,
        "use": identifier.use,
        "type": concept,
        "period": read_period(identifier.period),
    }
    if kind is IdentifierKind.SSN:
        try:
            return Identifier(kind=kind, **facts)
        except Invalid:
            kind = IdentifierKind.OTHER  # not nine digits: no number to search by, but not to be lost either
    return Identifier(kind=kind, **facts)


def _kind_of(identifier: resources.Identifier) -> IdentifierKind:
    codings = identifier.type.coding if identifier.type is not None else ()
    for coding in codings:
        if coding.system in _IDENTIFIER_TYPES and coding.code in _KINDS:
            return _KINDS[coding.code]
    return IdentifierKind.SSN if identifier.system == SSN_SYSTEM else IdentifierKind.OTHER


def _read_telecom(telecom: resources.ContactPoint) -> Telecom | None:
    if not telecom.value.strip():
        return None
    if telecom.system is None:
        raise Invalid("system", "is missing")
    facts: Json = {
        "value": telecom.value,
        "use": telecom.use,
        "rank": telecom.rank,
        "period": read_period(telecom.period),
    }
    if telecom.system is TelecomSystem.EMAIL:
        try:
            return Telecom(system=telecom.system, **facts)
        except Invalid:
            return Telecom(system=TelecomSystem.OTHER, **facts)  # "n/a": no e-mail address, but what the source says
    return Telecom(system=telecom.system, **facts)


def _read_coordinates(address: resources.Address) -> tuple[float | None, float | None]:
    found = known_extensions(address.extension, {GEOLOCATION: resources.GeolocationExtension})
    if GEOLOCATION not in found:
        return None, None
    degrees = {part.url: part.value_decimal for part in found[GEOLOCATION].extension}
    return degrees.get("latitude"), degrees.get("longitude")
