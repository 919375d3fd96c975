"""Patients as FHIR R4 resources with the extensions of US Core.

Lost on the way in: narrative, `meta`, `active`, photos, links to other resources, who assigned an identifier,
times of day in periods, and extensions that are not named here.
"""

from msgspec import Raw

from clarity.domain.dates import PartialDate
from clarity.domain.errors import Invalid
from clarity.domain.ids import PatientId
from clarity.domain.patients import Death, Patient
from clarity.domain.people import Category, EmergencyContact, Gender, Language
from clarity.domain.values import within
from clarity.fhir import resources
from clarity.fhir.datatypes import (
    Json,
    known_extensions,
    read_address,
    read_addresses,
    read_coding,
    read_concept,
    read_date_time,
    read_each,
    read_identifiers,
    read_name,
    read_period,
    read_telecoms,
    without_blanks,
    write_address,
    write_coding,
    write_concept,
    write_identifier,
    write_name,
    write_period,
    write_telecom,
)
from clarity.fhir.decoding import decode

US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition"
RACE = f"{US_CORE}/us-core-race"
ETHNICITY = f"{US_CORE}/us-core-ethnicity"
BIRTH_SEX = f"{US_CORE}/us-core-birthsex"
MOTHERS_MAIDEN_NAME = "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName"
BIRTH_PLACE = "http://hl7.org/fhir/StructureDefinition/patient-birthPlace"
_EXTENSIONS: dict[str, type[resources.Element]] = {
    RACE: resources.CategoryExtension,
    ETHNICITY: resources.CategoryExtension,
    BIRTH_SEX: resources.BirthSexExtension,
    MOTHERS_MAIDEN_NAME: resources.StringExtension,
    BIRTH_PLACE: resources.AddressExtension,
}


def read_patient(resource: bytes | Raw, patient_id: PatientId, source: str) -> Patient:
    """Return the patient of a `Patient` resource as `patient_id`, or raise `Invalid` naming the element."""
    patient = decode(resource, resources.Patient)
    with within("birthDate"):
        born = PartialDate.parse(patient.birth_date)
    with within("maritalStatus"):
        marital_status = read_concept(patient.marital_status)
    return Patient(
        id=patient_id,
        names=read_each("name", patient.name, read_name),
        born=born,
        gender=patient.gender or Gender.UNKNOWN,
        identifiers=read_identifiers(patient.identifier),
        telecoms=read_telecoms(patient.telecom),
        addresses=read_addresses(patient.address),
        marital_status=marital_status,
        languages=read_each("communication", patient.communication, _read_language),
        death=_read_death(patient),
        multiple_birth=_read_multiple_birth(patient),
        contacts=tuple(
            contact for contact in read_each("contact", patient.contact, _read_contact) if contact is not None
        ),
        sources=(source,),
        **_read_extensions(patient),
    )


def patient_to_fhir(patient: Patient) -> Json:
    """Return a patient as a FHIR R4 `Patient` resource; notes, label, insurances and care team are not part of it."""
    return without_blanks(
        resourceType="Patient",
        id=str(patient.id),
        extension=_write_extensions(patient),
        identifier=tuple(map(write_identifier, patient.identifiers)),
        name=tuple(map(write_name, patient.names)),
        telecom=tuple(map(write_telecom, patient.telecoms)),
        gender=patient.gender,
        birthDate=str(patient.born),
        address=tuple(map(write_address, patient.addresses)),
        maritalStatus=write_concept(patient.marital_status),
        contact=tuple(map(_write_contact, patient.contacts)),
        communication=tuple(map(_write_language, patient.languages)),
        **_write_death(patient.death),
        **_write_multiple_birth(patient),
    )


def _read_language(communication: resources.Communication) -> Language:
    with within("language"):
        language = read_concept(communication.language)
        if language is None:
            raise Invalid("", "is missing")
    return Language(language=language, preferred=communication.preferred)


def _write_language(language: Language) -> Json:
    return without_blanks(language=write_concept(language.language), preferred=language.preferred)


def _read_contact(contact: resources.Contact) -> EmergencyContact | None:
    with within("address"):
        address = read_address(contact.address) if contact.address is not None else None
    telecoms = read_telecoms(contact.telecom)
    if contact.name is None and address is None and not telecoms:
        return None  # an organisation alone: who to call there is not said
    with within("name"):
        name = read_name(contact.name) if contact.name is not None else None
    relationships = read_each("relationship", contact.relationship, read_concept)
    return EmergencyContact(
        name=name,
        relationships=tuple(relationship for relationship in relationships if relationship is not None),
        telecoms=telecoms,
        address=address,
        gender=contact.gender,
        period=read_period(contact.period),
    )


def _write_contact(contact: EmergencyContact) -> Json:
    return without_blanks(
        relationship=tuple(map(write_concept, contact.relationships)),
        name=contact.name and write_name(contact.name),
        telecom=tuple(map(write_telecom, contact.telecoms)),
        address=contact.address and write_address(contact.address),
        gender=contact.gender,
        period=write_period(contact.period),
    )


def _read_death(patient: resources.Patient) -> Death | None:
    if patient.deceased_date_time is not None:
        with within("deceasedDateTime"):
            if patient.deceased_boolean is not None:
                raise Invalid("", "must not be given beside deceasedBoolean")
            day, instant = read_date_time(patient.deceased_date_time)
            return Death(day) if instant is None else Death(instant=instant)
    return Death() if patient.deceased_boolean else None


def _write_death(death: Death | None) -> Json:
    if death is None:
        return {}
    if death.instant is not None:
        return {"deceasedDateTime": death.instant.isoformat()}
    return {"deceasedDateTime": str(death.day)} if death.day is not None else {"deceasedBoolean": True}


def _read_multiple_birth(patient: resources.Patient) -> bool | int | None:
    if patient.multiple_birth_integer is None:
        return patient.multiple_birth_boolean
    if patient.multiple_birth_boolean is not None:
        raise Invalid("multipleBirthInteger", "must not be given beside multipleBirthBoolean")
    return patient.multiple_birth_integer


def _write_multiple_birth(patient: Patient) -> Json:
    known = patient.multiple_birth
    return {} if known is None else {f"multipleBirth{'Boolean' if isinstance(known, bool) else 'Integer'}": known}


def _read_extensions(patient: resources.Patient) -> Json:
    """Return the fields of a patient that come as extensions."""
    known = known_extensions(patient.extension, _EXTENSIONS)
    fields: Json = {}
    for name, url in (("race", RACE), ("ethnicity", ETHNICITY)):
        if url in known:
            with within(f"extension({name})"):
                fields[name] = _read_category(known[url])
    if BIRTH_SEX in known:
        fields["birth_sex"] = known[BIRTH_SEX].value_code
    if MOTHERS_MAIDEN_NAME in known:
        fields["mothers_maiden_name"] = known[MOTHERS_MAIDEN_NAME].value_string
    if BIRTH_PLACE in known:
        with within("extension(birthPlace)"):
            fields["birth_place"] = read_address(known[BIRTH_PLACE].value_address)
    return fields


def _write_extensions(patient: Patient) -> tuple[Json, ...]:
    extensions: list[Json] = [
        _write_category(url, category)
        for url, category in ((RACE, patient.race), (ETHNICITY, patient.ethnicity))
        if category is not None
    ]
    if patient.mothers_maiden_name:
        extensions.append({"url": MOTHERS_MAIDEN_NAME, "valueString": patient.mothers_maiden_name})
    if patient.birth_sex is not None:
        extensions.append({"url": BIRTH_SEX, "valueCode": patient.birth_sex})
    if patient.birth_place is not None:
        extensions.append({"url": BIRTH_PLACE, "valueAddress": write_address(patient.birth_place)})
    return tuple(extensions)


def _read_category(category: resources.CategoryExtension) -> Category | None:
    """Return a race or ethnicity; where the text that US Core requires is missing, the displays stand for it."""
    codings = {
        url: read_each(
            url,
            (part.value_coding for part in category.extension if part.url == url and part.value_coding is not None),
            read_coding,
        )
        for url in ("ombCategory", "detailed")
    }
    texts = [part.value_string for part in category.extension if part.url == "text" and part.value_string]
    if not texts:
        texts = [", ".join(coding.display or coding.code for group in codings.values() for coding in group)]
    return Category(text=texts[0], omb=codings["ombCategory"], detailed=codings["detailed"]) if texts[0] else None


def _write_category(url: str, category: Category) -> Json:
    parts: list[Json] = [
        {"url": part, "valueCoding": write_coding(coding)}
        for part, codings in (("ombCategory", category.omb), ("detailed", category.detailed))
        for coding in codings
    ]
    return {"url": url, "extension": [*parts, {"url": "text", "valueString": category.text}]}
