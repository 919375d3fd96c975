"""What clients asked and were told: a file of JSON lines, each on the disk before the next thing happens."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

LOST = ""
"""The request id of an attempt whose answer did not arrive, and with it the id."""


class Kind(StrEnum):
    """What was asked for."""

    REGISTER = "register"
    CHANGE = "change"
    CARE_TEAM = "care-team"
    LABEL = "label"
    CONSENT = "consent"
    WITHDRAW = "withdraw"
    BREAK_GLASS = "break-glass"
    INVITE = "invite"
    MACHINE = "machine"
    VIEW = "view"
    HISTORY = "history"
    LIST = "list"
    CONSENTS = "consents"

    @property
    def reads(self) -> bool:
        """Tell whether it only reads."""
        return self in {Kind.VIEW, Kind.HISTORY, Kind.LIST, Kind.CONSENTS}


class End(StrEnum):
    """How an attempt ended, as far as the client can know.

    A refusal is a failure, and so is an answer that says that nothing was done. Whoever got no answer, or one that says
    that nobody knows, does not know either.
    """

    OK = "ok"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One request. `intent` is what was meant by it: a request that comes again means the same.

    `subject` is the patient it was about, or the consent, and `seen` the version named in If-Match. The rest came with
    the answer: its `request` id, the `record` it named and the `version` of that, and the patients that were `shown`.
    """

    number: int
    intent: str
    kind: Kind
    keyed: bool = False
    subject: str = ""
    seen: int = 0
    end: End = End.UNKNOWN
    status: int = 0
    code: str = ""
    request: str = LOST
    record: str = ""
    version: int = 0
    shown: tuple[str, ...] = ()


@dataclass(slots=True)
class Historian:
    """Writes a history down. The end of an attempt is a line of its own, and so is its beginning."""

    path: Path
    _number: int = field(default=0, init=False)
    _file: int = field(default=-1, init=False)

    def __post_init__(self) -> None:
        """Open the file."""
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def invoke(self, intent: str, kind: Kind, *, keyed: bool = False, subject: str = "", seen: int = 0) -> Attempt:
        """Write that something is about to be asked."""
        self._number += 1
        attempt = Attempt(number=self._number, intent=intent, kind=kind, keyed=keyed, subject=subject, seen=seen)
        self._write({"type": "invoke", **asdict(attempt)})
        return attempt

    def complete(self, attempt: Attempt, end: End, **told: Any) -> Attempt:
        """Write how it ended."""
        ended = replace(attempt, end=end, **told)
        self._write({"type": str(end), **asdict(ended)})
        return ended

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _write(self, line: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(line).encode() + b"\n")
        # What a client was told must not be forgotten by us when it is what the server may not forget.
        os.fdatasync(self._file)


def read(lines: Iterable[str]) -> list[Attempt]:
    """Return the attempts of a history; one that has only begun ended in nobody knows what."""
    attempts: dict[int, Attempt] = {}
    for line in lines:
        told = json.loads(line)
        del told["type"]
        told |= {"kind": Kind(told["kind"]), "end": End(told["end"]), "shown": tuple(told["shown"])}
        attempts[told["number"]] = Attempt(**told)
    return list(attempts.values())
