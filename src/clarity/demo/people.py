"""The people of the made-up practice: what they are called, where they live, how they are reached.

Nothing here can belong to a real person. Telephone numbers end in 555-01xx, which the North American Numbering Plan
sets aside for fiction; e-mail addresses are under example.org (RFC 2606); social security numbers begin with 9 and
have a group below 50, used neither for those nor for ITINs; NPIs begin with 2, as none given out so far does.
"""

import unicodedata
from dataclasses import dataclass
from random import Random

from faker import Faker
from faker.providers.person.ja_JP import Provider as JapaneseNames

from clarity.domain.identifiers import npi_is_valid
from clarity.domain.names import HumanName, NameUse, fold
from clarity.domain.people import Address, AddressUse, Category, Coding, Concept, Telecom, TelecomSystem, TelecomUse

STATE = "MA"
_AREA_CODES = ("617", "857", "781", "339", "508", "774", "978", "351", "413")
_FICTIONAL_LINES = 100
_RACE_SYSTEM = "urn:oid:2.16.840.1.113883.6.238"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a family's names come from, with what the census would ask about it.

    `locale` is the generator's; `language` is the BCP 47 tag of the language spoken at home besides English.
    """

    locale: str
    share: int
    races: tuple[str, ...]
    language: str = "en"
    hispanic: bool = False


ORIGINS = (
    Origin("en_US", 50, ("2106-3", "2106-3", "2054-5")),
    Origin("en_IE", 10, ("2106-3",)),
    Origin("es_MX", 14, ("2131-1", "2106-3", "2054-5"), "es", hispanic=True),
    Origin("pt_PT", 7, ("2106-3", "2131-1", "2054-5"), "pt"),
    Origin("fr_FR", 5, ("2054-5",), "fr"),
    Origin("vi_VN", 4, ("2028-9",), "vi"),
    Origin("zh_CN", 4, ("2028-9",), "zh"),
    Origin("pl_PL", 3, ("2106-3",), "pl"),
    Origin("ja_JP", 3, ("2028-9",), "ja"),
)
_RACES = {
    "2106-3": "White",
    "2054-5": "Black or African American",
    "2028-9": "Asian",
    "2131-1": "Other Race",
}
LANGUAGES = {
    "en": "English",
    "es": "Spanish",
    "pt": "Portuguese",
    "fr": "French",
    "vi": "Vietnamese",
    "zh": "Chinese",
    "pl": "Polish",
    "ja": "Japanese",
}


@dataclass(frozen=True, slots=True)
class Called:
    """A family name and given names in Latin letters, and the same as the family writes them, if otherwise."""

    family: str
    given: tuple[str, ...]
    native: HumanName | None = None


class Registry:
    """Makes up people, one generator for each origin, all of them started again for each person."""

    def __init__(self) -> None:
        """Load the word lists, which takes a moment."""
        self._fakers = {origin.locale: Faker(origin.locale) for origin in ORIGINS}

    def start(self, seed: str) -> Random:
        """Begin a person: whatever is asked for until the next `start` follows from `seed` alone."""
        for faker in self._fakers.values():
            faker.seed_instance(seed)
        return Random(seed)

    def name(self, origin: Origin, *, female: bool, middle: bool = False) -> Called:
        """Return a name; with `middle`, of two given names."""
        if origin.locale == "ja_JP":
            return self._japanese(female=female)
        faker = self._fakers[origin.locale]
        if origin.locale == "zh_CN":
            return Called(faker.last_romanized_name(), (faker.first_romanized_name(),))
        given = [faker.first_name_female() if female else faker.first_name_male()]
        if middle:
            given.append(faker.first_name_female() if female else faker.first_name_male())
        family = faker.last_name_female() if female else faker.last_name_male()
        return Called(family, tuple(dict.fromkeys(given)))

    def given_name(self, origin: Origin, *, female: bool) -> str:
        """Return the given name of a relative."""
        return self.name(origin, female=female).given[0]

    def address(self, random: Random, use: AddressUse = AddressUse.HOME) -> Address:
        """Return an address in Massachusetts, of a town and street that are made up."""
        faker = self._fakers["en_US"]
        lines = [f"{faker.building_number()} {faker.street_name()}"]
        if random.random() < 0.35:
            lines.append(faker.secondary_address())
        return Address(
            lines=tuple(lines),
            city=faker.city(),
            state=STATE,
            postal_code=faker.postcode_in_state(STATE),
            country="US",
            use=use,
        )

    def town(self) -> str:
        """Return the name of a town."""
        return self._fakers["en_US"].city()

    def _japanese(self, *, female: bool) -> Called:
        names: JapaneseNames = next(
            provider for provider in self._fakers["ja_JP"].factories[0].providers if isinstance(provider, JapaneseNames)
        )
        family, _, family_latin = names.last_name_pair()
        given, _, given_latin = names.first_name_female_pair() if female else names.first_name_male_pair()
        native = HumanName(family=family, given=(given,), use=NameUse.USUAL)
        return Called(family_latin, (given_latin,), native)


def pick_origin(random: Random) -> Origin:
    """Return where somebody in a New England city might come from."""
    return random.choices(ORIGINS, [origin.share for origin in ORIGINS])[0]


def race_and_ethnicity(random: Random, origin: Origin) -> tuple[Category, Category]:
    """Return both as US Core records them."""
    code = random.choice(origin.races)
    race = Category(text=_RACES[code], omb=(Coding(system=_RACE_SYSTEM, code=code, display=_RACES[code]),))
    code, text = ("2135-2", "Hispanic or Latino") if origin.hispanic else ("2186-5", "Not Hispanic or Latino")
    return race, Category(text=text, omb=(Coding(system=_RACE_SYSTEM, code=code, display=text),))


def phone(number: int, use: TelecomUse, rank: int | None = None) -> Telecom:
    """Return the telephone of line `number`, which only numbers 900 apart share."""
    area, line = _AREA_CODES[number // _FICTIONAL_LINES % len(_AREA_CODES)], number % _FICTIONAL_LINES
    return Telecom(system=TelecomSystem.PHONE, value=f"({area}) 555-01{line:02}", use=use, rank=rank)


def email(called: Called, number: int, domain: str = "example.org", use: TelecomUse = TelecomUse.HOME) -> Telecom:
    """Return an address in plain ASCII, as mail systems hand them out."""
    words = (_ascii(called.given[0]), _ascii(called.family))
    local = ".".join(word for word in words if word) or "patient"
    return Telecom(system=TelecomSystem.EMAIL, value=f"{local}{number}@{domain}", use=use)


def ssn(number: int) -> str:
    """Return a social security number that nobody has."""
    # Multiplying by a prime spreads the last digits, so that they do not simply count the patients.
    return f"900-{number // 10_000 % 49 + 1:02}-{(number * 7919 + 1) % 10_000:04}"


def npi(number: int) -> str:
    """Return an NPI with a valid check digit that nobody has."""
    stem = f"2{number:08}"
    return next(stem + digit for digit in "0123456789" if npi_is_valid(stem + digit))


def language_concept(tag: str) -> Concept:
    """Return a language as FHIR codes it."""
    display = LANGUAGES[tag]
    return Concept(codings=(Coding(system="urn:ietf:bcp:47", code=tag, display=display),), text=display)


def _ascii(word: str) -> str:
    letters = unicodedata.normalize("NFKD", fold(word)).encode("ascii", "ignore").decode()
    return letters.replace(" ", "")
