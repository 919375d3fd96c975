"""Amendments of what a note says, on the patient's request (45 CFR 164.526)."""

from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final, Self
from uuid import UUID

from clarity.domain.errors import Conflict, Invalid
from clarity.domain.ids import AmendmentId, NoteId
from clarity.domain.values import Confidential, require_few, require_text

DECIDED_WITHIN_DAYS: Final = 60
"""Within how many days of its receipt a request is acted on (45 CFR 164.526(b)(2)(i))."""

EXTENDED_BY_DAYS: Final = 30
"""By how many days that time may be extended, once (45 CFR 164.526(b)(2)(ii))."""

MAX_STATEMENT: Final = 10_000
"""How long a statement may be, in characters; 45 CFR 164.526(d)(2) allows a reasonable limit."""


class AmendmentStatus(StrEnum):
    """What became of a request."""

    OPEN = "open"
    ACCEPTED = "accepted"
    DENIED = "denied"


class DenialGround(StrEnum):
    """Why a request may be denied: the grounds of 45 CFR 164.526(a)(2), and no others."""

    NOT_CREATED_HERE = "not-created-here"
    NOT_IN_RECORD_SET = "not-in-record-set"
    NOT_OPEN_TO_INSPECTION = "not-open-to-inspection"
    ACCURATE_AND_COMPLETE = "accurate-and-complete"

    @property
    def citation(self) -> str:
        """The paragraph that it rests on."""
        return f"45 CFR 164.526(a)(2)({_PARAGRAPHS[self]})"


_PARAGRAPHS = {
    DenialGround.NOT_CREATED_HERE: "i",
    DenialGround.NOT_IN_RECORD_SET: "ii",
    DenialGround.NOT_OPEN_TO_INSPECTION: "iii",
    DenialGround.ACCURATE_AND_COMPLETE: "iv",
}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Extension(Confidential):
    """That the patient was told in writing why a decision takes longer, and by when it comes (164.526(b)(2)(ii)(A))."""

    reason: str
    until: date
    at: datetime
    by: UUID

    def __post_init__(self) -> None:
        """Raise `Invalid` without a reason."""
        require_text("reason", self.reason, at_most=MAX_STATEMENT)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Acceptance(Confidential):
    """That a request was accepted: `addendum` is the note that amends (164.526(c)(1)).

    `told` are those who were told of it: the patient (c)(2), whom they named, and who may rely on what was amended
    (c)(3).
    """

    addendum: NoteId
    told: tuple[str, ...]
    at: datetime
    by: UUID

    def __post_init__(self) -> None:
        """Raise `Invalid` unless somebody was told."""
        if not self.told:
            raise Invalid("told", "say who was told of it, the patient at least (45 CFR 164.526(c)(2))")
        require_few("told", self.told)
        for position, one in enumerate(self.told):
            require_text(f"told.{position}", one)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Denial(Confidential):
    """That a request was denied, on which ground, and the basis in plain language (164.526(d)(1)(i))."""

    ground: DenialGround
    basis: str
    at: datetime
    by: UUID

    def __post_init__(self) -> None:
        """Raise `Invalid` without a basis."""
        require_text("basis", self.basis, at_most=MAX_STATEMENT)

    @property
    def citation(self) -> str:
        """The paragraph that the ground rests on."""
        return self.ground.citation


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Statement(Confidential):
    """What was said after a denial: a disagreement (164.526(d)(2)), or a rebuttal of it (d)(3)."""

    text: str
    at: datetime
    by: UUID

    def __post_init__(self) -> None:
        """Raise `Invalid` if it says nothing."""
        require_text("text", self.text, at_most=MAX_STATEMENT)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Amendment(Confidential):
    """A request to amend a note: `what` to amend, and `why` (164.526(b)(1)), and all that came of it.

    `received_on` is the day by the practice's calendar that the times count from; `by_patient` is false if staff
    entered it for them. What has been said of it stays, and goes along with the note (164.526(d)(4) and (5)).
    """

    id: AmendmentId
    what: str
    why: str
    received_on: date
    requested_at: datetime
    requested_by: UUID
    by_patient: bool = True
    extension: Extension | None = None
    acceptance: Acceptance | None = None
    denial: Denial | None = None
    disagreement: Statement | None = None
    rebuttal: Statement | None = None

    def __post_init__(self) -> None:
        """Raise `Invalid` unless it says what and why."""
        for name in ("what", "why"):
            require_text(name, getattr(self, name), at_most=MAX_STATEMENT)

    @property
    def status(self) -> AmendmentStatus:
        """What became of it."""
        if self.acceptance is not None:
            return AmendmentStatus.ACCEPTED
        return AmendmentStatus.OPEN if self.denial is None else AmendmentStatus.DENIED

    @property
    def due_on(self) -> date:
        """The last day on which it is decided in time."""
        return self._first_due if self.extension is None else self.extension.until

    @property
    def _first_due(self) -> date:
        return self.received_on + timedelta(days=DECIDED_WITHIN_DAYS)

    def extended(self, extension: Extension, today: date) -> Self:
        """Return it with more time.

        Raises `Conflict` if it was decided or extended before, and `Invalid` for a day too late, or if the time that it
        extends is over.
        """
        self._require_open()
        if self.extension is not None:
            raise Conflict("extension: the time was extended before, which is done once (45 CFR 164.526(b)(2)(ii)(B))")
        if today > self._first_due:
            raise Conflict(f"extension: the {DECIDED_WITHIN_DAYS} days within which it is said are over; decide now")
        latest = self._first_due + timedelta(days=EXTENDED_BY_DAYS)
        if not self._first_due < extension.until <= latest:
            raise Invalid("until", f"must be after {self._first_due} and not after {latest}")
        return replace(self, extension=extension)

    def accepted(self, acceptance: Acceptance) -> Self:
        """Return it as accepted. Raises `Conflict` if it was decided before."""
        self._require_open()
        return replace(self, acceptance=acceptance)

    def denied(self, denial: Denial) -> Self:
        """Return it as denied. Raises `Conflict` if it was decided before."""
        self._require_open()
        return replace(self, denial=denial)

    def disagreed(self, statement: Statement) -> Self:
        """Return it with the patient's statement. Raises `Conflict` unless it was denied and nothing was said yet."""
        if self.denial is None:
            raise Conflict("disagreement: only what was denied can be disagreed with")
        if self.disagreement is not None:
            raise Conflict("disagreement: there is a statement already, and it stays")
        return replace(self, disagreement=statement)

    def rebutted(self, statement: Statement) -> Self:
        """Return it with the practice's rebuttal. Raises `Conflict` unless there is a disagreement and no rebuttal."""
        if self.disagreement is None:
            raise Conflict("rebuttal: there is no statement of disagreement to rebut")
        if self.rebuttal is not None:
            raise Conflict("rebuttal: there is one already, and it stays")
        return replace(self, rebuttal=statement)

    def continues(self, before: Self) -> bool:
        """Tell whether this is `before` with perhaps more said of it, and nothing taken back."""
        said = ((getattr(before, item.name), getattr(self, item.name)) for item in fields(self))
        return all(was is None or was == now for was, now in said)

    def _require_open(self) -> None:
        if self.status is not AmendmentStatus.OPEN:
            raise Conflict(f"amendment: the request was {self.status} before")
