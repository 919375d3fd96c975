"""The lives behind the made-up records: who is how old, married to whom, insured where, still in treatment or not."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from clarity.demo.notes import working_notes
from clarity.demo.people import (
    LANGUAGES,
    STATE,
    Called,
    Origin,
    Registry,
    email,
    language_concept,
    phone,
    pick_origin,
    race_and_ethnicity,
    ssn,
)
from clarity.domain.dates import PartialDate
from clarity.domain.identifiers import Identifier, IdentifierKind, IdentifierUse
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.names import HumanName, NameUse, Period
from clarity.domain.patients import Death, Patient
from clarity.domain.people import (
    Address,
    AddressUse,
    BirthSex,
    Coding,
    Concept,
    EmergencyContact,
    Gender,
    Insurance,
    Language,
    Telecom,
    TelecomUse,
)
from clarity.domain.records import Label

# Years of age, youngest and oldest, one patient in twenty each: so even a small practice has minors and elders.
AGES = (
    *((31, 38), (24, 29), (8, 12), (52, 58), (67, 74), (19, 23), (39, 45), (13, 17), (60, 66), (27, 34)),
    *((45, 51), (76, 84), (14, 17), (33, 40), (55, 62), (20, 26), (6, 11), (41, 48), (85, 97), (29, 36)),
)
_MRN_SYSTEM = "urn:oid:2.16.840.1.113883.19.5.1"  # HL7 sets this branch aside for examples
_LICENCE_SYSTEM = "urn:oid:2.16.840.1.113883.4.3.25"
_MARITAL_SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus"
_MARITAL = {"S": "Never Married", "M": "Married", "D": "Divorced", "W": "Widowed"}
_ROLE_SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
_ROLES = {"MTH": "mother", "FTH": "father", "SPS": "spouse", "SIB": "sibling", "CHILD": "child", "FRND": "friend"}
_PLANS = ("Bayside Health Plan", "Commonwealth Mutual", "Pilgrim Valley HMO", "Charter Oak PPO")


@dataclass(frozen=True, slots=True)
class Life:
    """What of somebody's life decides the rest of the record; `random` makes up what is left."""

    number: int
    registry: Registry
    random: Random
    today: date
    origin: Origin
    female: bool
    age: int
    born: date
    called: Called
    marital: str

    def happens(self, share: float) -> bool:
        """Tell whether something that happens to `share` of people happened."""
        return self.random.random() < share

    @property
    def is_adult(self) -> bool:
        """Whether the person is of age."""
        return self.age >= 18


def patient_of(
    registry: Registry, seed: str, number: int, identity: PatientId, team: Sequence[PractitionerId], today: date
) -> Patient:
    """Return the patient that follows from `seed`, `number` and `today`."""
    life = _life(registry, seed, number, today)
    home = registry.address(life.random)
    race, ethnicity = race_and_ethnicity(life.random, life.origin)
    discharged, death = _end(life)
    languages = _languages(life)
    preferred = next(language.language for language in languages if language.preferred)
    return Patient(
        id=identity,
        names=_names(life),
        born=PartialDate(life.born.year) if number % 33 == 18 else PartialDate.of(life.born),
        gender=_gender(life),
        identifiers=_identifiers(life),
        telecoms=_telecoms(life),
        addresses=_addresses(life, home),
        birth_sex=BirthSex.FEMALE if life.female else BirthSex.MALE,
        marital_status=_concept(_MARITAL_SYSTEM, life.marital, _MARITAL[life.marital]),
        languages=languages,
        death=death,
        race=race,
        ethnicity=ethnicity,
        mothers_maiden_name=registry.name(life.origin, female=True).family if life.happens(0.6) else "",
        birth_place=Address(city=registry.town(), state=STATE, country="US") if life.happens(0.5) else None,
        multiple_birth=True if number % 45 == 2 else None,
        contacts=_contacts(life, home),
        insurances=_insurances(life),
        notes=working_notes(
            life.random, life.age, _last_visit(life, discharged, death), interpreter=_interpreter(preferred)
        ),
        discharged=discharged,
        label=Label.RESTRICTED if number % 16 == 8 else Label.NORMAL,
        care_team=frozenset(team),
    )


def _life(registry: Registry, seed: str, number: int, today: date) -> Life:
    random = registry.start(seed)
    origin = pick_origin(random)
    female = random.random() < 0.54
    age = random.randint(*AGES[number % len(AGES)])
    return Life(
        number=number,
        registry=registry,
        random=random,
        today=today,
        origin=origin,
        female=female,
        age=age,
        born=_birthday(random, age, today),
        called=registry.name(origin, female=female, middle=random.random() < 0.5),
        marital=_marital(random, age),
    )


def _birthday(random: Random, age: int, today: date) -> date:
    """Return a day on which somebody was born who is `age` years old."""
    # No year has a 29 February in all its neighbours, and 364 days never reach the next birthday.
    day = today.replace(day=28) if (today.month, today.day) == (2, 29) else today
    return day.replace(year=day.year - age) - timedelta(days=random.randint(0, 364))


def _marital(random: Random, age: int) -> str:
    if age < 20:
        return "S"
    shares = (60, 35, 5, 0) if age < 32 else (25, 52, 21, 2) if age < 65 else (8, 46, 16, 30)
    return random.choices(tuple(_MARITAL), shares)[0]


def _names(life: Life) -> tuple[HumanName, ...]:
    called = life.called
    prefix = ("Ms." if life.female else "Mr.",) if life.is_adult and life.happens(0.6) else ()
    suffix = ("Jr.",) if not life.female and life.happens(0.04) else ()
    names = [HumanName(family=called.family, given=called.given, prefix=prefix, suffix=suffix, use=NameUse.OFFICIAL)]
    if called.native:
        names.append(called.native)
    if life.female and life.marital != "S" and life.happens(0.5):
        maiden = life.registry.name(life.origin, female=True).family
        names.append(HumanName(family=maiden, given=called.given, use=NameUse.MAIDEN))
    if len(called.given[0]) > 5 and life.happens(0.1):
        names.append(HumanName(given=(called.given[0][:3],), family=called.family, use=NameUse.NICKNAME))
    return tuple(names)


def _gender(life: Life) -> Gender:
    if life.number % 50 == 21:
        return Gender.OTHER
    return Gender.FEMALE if life.female else Gender.MALE


def _identifiers(life: Life) -> tuple[Identifier, ...]:
    mrn = f"{100_000 + life.number}"
    identifiers = [Identifier(kind=IdentifierKind.MRN, value=mrn, system=_MRN_SYSTEM, use=IdentifierUse.USUAL)]
    if life.happens(0.85):
        identifiers.append(Identifier.ssn(ssn(life.number)))
    if life.is_adult and life.happens(0.5):
        licence = f"S{life.random.randint(0, 99_999_999):08}"
        identifiers.append(Identifier(kind=IdentifierKind.DRIVERS_LICENSE, value=licence, system=_LICENCE_SYSTEM))
    return tuple(identifiers)


def _telecoms(life: Life) -> tuple[Telecom, ...]:
    # Two lines each, and the contact's a third: strides without a common factor with 900 keep them apart for longest.
    telecoms = [phone(2 * life.number, TelecomUse.MOBILE if life.is_adult else TelecomUse.HOME, rank=1)]
    if life.is_adult and life.happens(0.3):
        telecoms.append(phone(2 * life.number + 1, TelecomUse.HOME, rank=2))
    if life.age >= 14 and life.happens(0.8):
        telecoms.append(email(life.called, life.number))
    return tuple(telecoms)


def _addresses(life: Life, home: Address) -> tuple[Address, ...]:
    if not life.happens(0.12):
        return (home,)
    return home, life.registry.address(life.random, AddressUse.OLD)


def _languages(life: Life) -> tuple[Language, ...]:
    english = Language(language=language_concept("en"), preferred=True)
    if life.origin.language == "en":
        return (english,)
    other = language_concept(life.origin.language)
    if life.happens(0.7):
        return english, Language(language=other, preferred=False)
    return (Language(language=other, preferred=True),)


def _interpreter(preferred: Concept) -> str:
    return "" if preferred.text == LANGUAGES["en"] else preferred.text


def _end(life: Life) -> tuple[date | None, Death | None]:
    """Return when the treatment ended and that the person died: mostly neither, never both."""
    if life.number % 20 in {11, 18} and life.happens(0.5):
        return None, Death(day=PartialDate.of(life.today - timedelta(days=life.random.randint(20, 500))))
    if life.number % 9 == 5:
        return life.today - timedelta(days=life.random.randint(10, 700)), None
    return None, None


def _last_visit(life: Life, discharged: date | None, death: Death | None) -> date:
    if discharged:
        return discharged
    before = timedelta(days=life.random.randint(1, 60))
    return (death.day.first if death and death.day else life.today) - before


def _contacts(life: Life, home: Address) -> tuple[EmergencyContact, ...]:
    contacts = [_contact(life, role, 0, home) for role in _next_of_kin(life)[:1]]
    contacts += [_contact(life, role, 1, None) for role in _next_of_kin(life)[1:]]
    return tuple(contacts)


def _next_of_kin(life: Life) -> tuple[str, ...]:
    if not life.is_adult:
        return ("MTH", "FTH") if life.happens(0.6) else ("MTH",)
    if life.marital == "M":
        return ("SPS",)
    if life.age >= 60:
        return ("CHILD",)
    return (life.random.choice(("MTH", "FTH", "SIB", "FRND")),)


def _contact(life: Life, role: str, rank: int, home: Address | None) -> EmergencyContact:
    female = {"MTH": True, "FTH": False}.get(role, not life.female if role == "SPS" else life.happens(0.5))
    origin = pick_origin(life.random) if role == "FRND" else life.origin
    called = life.registry.name(origin, female=female)
    family = called.family if role == "FRND" else life.called.family
    return EmergencyContact(
        name=HumanName(family=family, given=called.given),
        relationships=(_concept(_ROLE_SYSTEM, role, _ROLES[role]),),
        telecoms=(phone(450 + 2 * life.number + rank, TelecomUse.MOBILE),),
        address=home if role in {"SPS", "MTH"} else None,
        gender=Gender.FEMALE if female else Gender.MALE,
    )


def _insurances(life: Life) -> tuple[Insurance, ...]:
    member = f"{life.random.randint(100_000_000, 999_999_999)}"
    start = Period(start=PartialDate(life.today.year - life.random.randint(0, 6), 1, 1))
    if life.age >= 65:
        medicare = Insurance(payer="Medicare", plan="Part B", member_id=f"1{member}A", period=start)
        supplement = Insurance(payer=life.random.choice(_PLANS), plan="Supplement", member_id=member)
        return (medicare, supplement) if life.happens(0.5) else (medicare,)
    if life.happens(0.06):
        return ()
    if life.happens(0.3):
        return (Insurance(payer="Medicaid", plan="Managed care", member_id=member, period=start),)
    subscriber = (
        None
        if life.is_adult
        else HumanName(family=life.called.family, given=(life.registry.given_name(life.origin, female=True),))
    )
    group = f"G{life.random.randint(1000, 9999)}"
    payer = life.random.choice(_PLANS)
    return (
        Insurance(payer=payer, plan="Standard", group=group, member_id=member, subscriber=subscriber, period=start),
    )


def _concept(system: str, code: str, display: str) -> Concept:
    return Concept(codings=(Coding(system=system, code=code, display=display),), text=display)
