"""Practitioners as FHIR R4 resources.

Lost on the way in: narrative, `meta`, birth dates, photos, qualifications, languages, all names but the one in
use, and all identifiers but the National Provider Identifier. The specialty comes from `PractitionerRole`.
"""

from msgspec import Raw

from clarity.domain.errors import Invalid
from clarity.domain.identifiers import NPI_SYSTEM
from clarity.domain.ids import PractitionerId
from clarity.domain.patients import called_by
from clarity.domain.people import Gender
from clarity.domain.practitioners import Practitioner
from clarity.fhir import resources
from clarity.fhir.datatypes import (
    Json,
    read_addresses,
    read_each,
    read_name,
    read_telecoms,
    without_blanks,
    write_address,
    write_name,
    write_telecom,
)
from clarity.fhir.decoding import decode


def read_practitioner(resource: bytes | Raw, practitioner_id: PractitionerId, source: str) -> Practitioner:
    """Return the practitioner of a `Practitioner` resource, or raise `Invalid` naming the element.

    The NPI is taken as it is, whether or not its check digit holds.
    """
    practitioner = decode(resource, resources.Practitioner)
    names = read_each("name", practitioner.name, read_name)
    if not names:
        raise Invalid("name", "is missing")
    npis = [number.value for number in practitioner.identifier if number.system == NPI_SYSTEM and number.value]
    return Practitioner(
        id=practitioner_id,
        name=called_by(names),
        npi=npis[0] if npis else "",
        gender=practitioner.gender or Gender.UNKNOWN,
        telecoms=read_telecoms(practitioner.telecom),
        addresses=read_addresses(practitioner.address),
        sources=(source,),
        active=practitioner.active is not False,
    )


def practitioner_to_fhir(practitioner: Practitioner) -> Json:
    """Return a practitioner as a FHIR R4 `Practitioner` resource."""
    return without_blanks(
        resourceType="Practitioner",
        id=str(practitioner.id),
        identifier=({"system": NPI_SYSTEM, "value": practitioner.npi},) if practitioner.npi else (),
        active=practitioner.active,
        name=(write_name(practitioner.name),),
        telecom=tuple(map(write_telecom, practitioner.telecoms)),
        address=tuple(map(write_address, practitioner.addresses)),
        gender=practitioner.gender,
    )
