"""What makes two spellings of an identifier the same one.

Each rule has a version. It goes into the key of the blind index, so that a changed rule makes new digests instead of
quietly missing what was indexed under the old one; raise it with every change of what the rule returns.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import phonenumbers

from clarity.domain.identifiers import IndexKind, as_compared


@dataclass(frozen=True, slots=True)
class Normaliser:
    """One rule: `apply(text, region)` returns "" for what cannot be looked up.

    `needs` completes "must have …" for whoever entered such a text.
    """

    version: int
    needs: str
    apply: Callable[[str, str], str]


def _mrn(text: str, _region: str) -> str:
    """Normalise "assigner|value"; without a bar, it is a number of this practice."""
    assigner, bar, value = text.partition("|")
    number = _folded(value if bar else text)
    return f"{_folded(assigner) if bar else ''}|{number}" if number else ""


def _mrn_value(text: str, _region: str) -> str:
    return _folded(text)


def _ssn(text: str, _region: str) -> str:
    digits = _digits(text)
    return digits if len(digits) == 9 else ""


def _email(text: str, _region: str) -> str:
    """Ignore case, and keep dots and "+tag": only some providers ignore those, and elsewhere they name somebody else.

    The part before the @ may tell cases apart (RFC 5321, 2.4), but no provider in use does, and people do not type so.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).strip().casefold())


# As most numbers are written there. What the library makes of these follows from their digits, and it takes 25 µs.
_OF_NORTH_AMERICA = "US"
_NORTH_AMERICAN = re.compile(r"(?:\+1[ .-]?)?\(?([2-9]\d{2})\)?[ .-]?(\d{3})[ .-]?(\d{4})", re.ASCII)


def _phone(text: str, region: str) -> str:
    """Write the number as E.164, without its extension; what is no number of any plan keeps its digits and a "+"."""
    if region == _OF_NORTH_AMERICA and (plain := _NORTH_AMERICAN.fullmatch(text)):
        return f"+1{''.join(plain.groups())}"
    digits = _digits(text)
    bare = f"+{digits}" if digits and text.strip().startswith("+") else digits
    # The bare digits come second: they read numbers in unusual spellings, but lose "(0)" and the extension.
    for spelling in (text, bare):
        with suppress(phonenumbers.NumberParseException):
            number = phonenumbers.parse(spelling, region)
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return bare


def _external(text: str, _region: str) -> str:
    return as_compared(text)


def _source(text: str, _region: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def _npi(text: str, _region: str) -> str:
    return _digits(text)


def _digits(text: str) -> str:
    """Return the decimal digits as ASCII, whatever script they were written in."""
    return "".join(str(unicodedata.decimal(character)) for character in text if character.isdecimal())


def _folded(text: str) -> str:
    # Folding may take a text out of normal form and normalising may unfold it, hence the second time.
    once = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return as_compared(once.casefold())


NORMALISERS: Mapping[IndexKind, Normaliser] = {
    IndexKind.MRN: Normaliser(1, "a value", _mrn),
    IndexKind.MRN_VALUE: Normaliser(1, "a value", _mrn_value),
    IndexKind.SSN: Normaliser(1, "nine digits", _ssn),
    IndexKind.EMAIL: Normaliser(1, "a value", _email),
    IndexKind.PHONE: Normaliser(1, "digits", _phone),
    IndexKind.EXTERNAL: Normaliser(1, "a value", _external),
    IndexKind.SOURCE: Normaliser(1, "a value", _source),
    IndexKind.NPI: Normaliser(1, "digits", _npi),
    IndexKind.ACCOUNT_EMAIL: Normaliser(1, "a value", _email),
}
