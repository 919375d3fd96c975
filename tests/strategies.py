"""Everything a patient record can hold, for properties that hold for all of them (Hypothesis)."""

from datetime import UTC, timedelta, timezone

from hypothesis import strategies as st

from clarity.domain.dates import PartialDate
from clarity.domain.identifiers import Identifier, IdentifierKind
from clarity.domain.ids import PatientId
from clarity.domain.names import HumanName, NameUse, Period
from clarity.domain.patients import Death, Patient
from clarity.domain.people import (
    Address,
    AddressType,
    AddressUse,
    BirthSex,
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
from clarity.domain.records import Label

text = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=20)
some_text = text.filter(lambda value: bool(value.strip()))
instants = st.datetimes(timezones=st.just(UTC) | st.just(timezone(timedelta(hours=-4))))
dates = st.builds(PartialDate.of, st.dates()) | st.builds(PartialDate, st.integers(1, 9999))
periods = st.none() | st.builds(Period, start=dates)
codings = st.builds(Coding, system=text, code=some_text, display=text)
concepts = st.builds(Concept, codings=st.lists(codings, max_size=2).map(tuple), text=some_text)
names = st.builds(
    HumanName,
    family=some_text,
    given=st.lists(text, max_size=3).map(tuple),
    prefix=st.lists(text, max_size=1).map(tuple),
    use=st.none() | st.sampled_from(NameUse),
    period=periods,
)
telecoms = st.builds(
    Telecom, system=st.just(TelecomSystem.PHONE), value=some_text, use=st.none() | st.sampled_from(TelecomUse)
)
addresses = st.builds(
    Address,
    lines=st.lists(text, min_size=1, max_size=2).map(tuple),
    city=text,
    use=st.none() | st.sampled_from(AddressUse),
    type=st.none() | st.sampled_from(AddressType),
    latitude=st.none() | st.floats(-90, 90),
)
identifiers = st.builds(
    Identifier, kind=st.just(IdentifierKind.PASSPORT), value=some_text, system=text, type=st.none() | concepts
)
categories = st.builds(Category, text=some_text, omb=st.lists(codings, max_size=2).map(tuple))
patients = st.builds(
    Patient,
    id=st.uuids().map(PatientId),
    names=st.lists(names, min_size=1, max_size=3).map(tuple),
    born=dates,
    gender=st.sampled_from(Gender),
    identifiers=st.lists(identifiers, max_size=2).map(tuple),
    telecoms=st.lists(telecoms, max_size=2).map(tuple),
    addresses=st.lists(addresses, max_size=2).map(tuple),
    birth_sex=st.none() | st.sampled_from(BirthSex),
    marital_status=st.none() | concepts,
    languages=st.lists(st.builds(Language, language=concepts, preferred=st.none() | st.booleans()), max_size=2).map(
        tuple
    ),
    death=st.none() | st.builds(Death, day=st.none() | dates, instant=st.none() | instants),
    race=st.none() | categories,
    ethnicity=st.none() | categories,
    mothers_maiden_name=text,
    birth_place=st.none() | addresses,
    multiple_birth=st.none() | st.booleans() | st.integers(1, 9),
    contacts=st.lists(st.builds(EmergencyContact, name=names), max_size=2).map(tuple),
    insurances=st.lists(st.builds(Insurance, payer=some_text, member_id=some_text), max_size=2).map(tuple),
    notes=text,
    discharged=st.none() | st.dates(),
    label=st.sampled_from([Label.NORMAL, Label.RESTRICTED]),
    sources=st.lists(text, max_size=2).map(tuple),
)
