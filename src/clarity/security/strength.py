"""Which passwords may be used: long ones that nobody guesses early, and that are in no list of stolen ones."""

import bisect
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from zxcvbn import zxcvbn

from clarity.domain.errors import Invalid, Misconfigured
from clarity.security.hazmat import unsafe_sha1

# NIST SP 800-63B-4, 3.1.1.2: 15 characters where the password may be the only factor; at least 64 must be allowed. No
# rule about kinds of characters, no expiry. The upper bound only keeps requests small.
SHORTEST: Final = 15
LONGEST: Final = 256

# Wheeler, "zxcvbn: low-budget password strength estimation" (USENIX Security 2016): above 10^8 guesses lies what holds
# even where somebody stole the slow hashes. It has the commonest passwords, names, words, dates, runs of keyboards and
# repetitions, each also reversed and with digits for letters.
_LEAST_GUESSES: Final = 10**8
# The time it takes grows fast with the signs that can stand for letters, and without a bound somebody could keep a
# process busy with one password. Ones with more of them are in no list of common ones.
_JUDGED_CHARACTERS: Final = 48
_SIGNS_FOR_LETTERS: Final = frozenset("@({[<!|$+%")
_MOST_SIGNS_FOR_LETTERS: Final = 3

# Sentences that everybody knows are many words to an estimate, and one to those who guess.
_WELL_KNOWN: Final = frozenset(
    {
        "correct horse battery staple",
        "correcthorsebatterystaple",
        "iloveyousomuch123",
        "mypasswordismypassword",
        "qazwsxedcrfvtgbyhnujm",
        "thequickbrownfox",
        "thisisapassword",
        "thisismypassword",
    }
)
_OURS: Final = ("clarity", "clinic", "psychiatry", "psychiatric", "patient", "hospital", "practice", "password")
"""Words that suggest themselves here (OWASP ASVS 5.0, 6.1.2)."""
_KNOWN_WORD_LENGTH: Final = 4
_LEAST_BESIDE_KNOWN_WORDS: Final = 8

_GUESSED: Final = "is one of those tried first; choose several words that have nothing in common"
_DIGEST_BYTES: Final = 20


@dataclass(frozen=True, slots=True)
class StolenPasswords:
    """A list of passwords that were found in breaches: SHA-1 digests in ascending order, as a file.

    The file has a line `DIGEST:COUNT` for each, the digest as 40 hexadecimal digits: what the download tool of Have I
    Been Pwned writes. It is searched where it lies, by halving, and may be of any size.
    """

    path: Path

    def __post_init__(self) -> None:
        """Raise `Misconfigured` unless the file is there and begins with a digest."""
        try:
            with self.path.open("rb") as file:
                first = file.readline().partition(b":")[0].strip()
        except OSError as exc:
            raise Misconfigured(f"the list of stolen passwords {self.path} cannot be read: {exc.strerror}") from None
        if not _is_digest(first):
            raise Misconfigured(f"the list of stolen passwords {self.path} does not begin with a SHA-1 digest")

    def __contains__(self, password: str) -> bool:
        """Tell whether a password is in the list."""
        digest = unsafe_sha1(password.encode("utf-8", "surrogatepass")).hex().upper().encode()
        with self.path.open("rb") as file:
            size = file.seek(0, 2)

            def digest_behind(position: int) -> bytes:
                """Return the first digest that begins at `position` or later; "~" sorts behind every digest."""
                file.seek(max(0, position - 1))
                if position > 0:
                    file.readline()
                return file.readline().partition(b":")[0].strip().upper() or b"~"

            place = bisect.bisect_left(range(size), digest, key=digest_behind)
            return place < size and digest_behind(place) == digest


def require_strong(password: str, about: Iterable[str] = (), stolen: StolenPasswords | None = None) -> None:
    """Raise `Invalid` if a password is too short, too long, tried first by those who guess, or known to be stolen.

    `about` is what an attacker knows of its holder, such as their name and e-mail address. Words in a password are no
    fault (NIST SP 800-63B-4, 3.1.1.2), but those that are known beforehand do not count.
    """
    normalised = unicodedata.normalize("NFKC", password)
    if len(normalised) < SHORTEST:
        raise Invalid("password", f"must have at least {SHORTEST} characters; several words are easy to remember")
    if len(normalised) > LONGEST:
        raise Invalid("password", f"must have at most {LONGEST} characters")
    folded = normalised.casefold()
    if folded in _WELL_KNOWN or _is_guessed_early(normalised) or _is_known(folded, about):
        raise Invalid("password", _GUESSED)
    if stolen is not None and (password in stolen or normalised in stolen):
        raise Invalid("password", "was found among stolen passwords; choose another, and change it wherever you use it")


def _is_guessed_early(password: str) -> bool:
    judged = password[:_JUDGED_CHARACTERS]
    if len(_SIGNS_FOR_LETTERS.intersection(judged)) > _MOST_SIGNS_FOR_LETTERS:
        return False
    return bool(zxcvbn(judged)["guesses"] < _LEAST_GUESSES)


def _is_known(folded: str, about: Iterable[str]) -> bool:
    """Tell whether too little is left of a password without the words that are known beforehand."""
    words = {word for text in about for word in re.findall(r"\w+", text.casefold())} | set(_OURS)
    for word in sorted(words, key=len, reverse=True):
        if len(word) >= _KNOWN_WORD_LENGTH:
            folded = folded.replace(word, "")
    return len(folded) < _LEAST_BESIDE_KNOWN_WORDS


def _is_digest(text: bytes) -> bool:
    try:
        return len(bytes.fromhex(text.decode("ascii"))) == _DIGEST_BYTES
    except ValueError:
        return False
