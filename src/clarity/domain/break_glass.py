"""Broken glass: that somebody took access to one patient in an emergency, and how that was judged afterwards."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Self
from uuid import UUID

from clarity.domain.access import Purpose, Role
from clarity.domain.dates import CLOCKS_DIFFER
from clarity.domain.errors import Conflict, Forbidden, Invalid
from clarity.domain.ids import AccountId, BreakGlassId, PatientId
from clarity.domain.values import Confidential, allow_text, require_text

MAX_NAME = 200
DEFAULT_MINUTES: Final = 60
"""How long the glass stays broken where the practice sets nothing else."""


class BreakGlassStatus(StrEnum):
    """Whether somebody has judged it. Those that nobody has are the review queue."""

    UNREVIEWED = "unreviewed"
    REVIEWED = "reviewed"


class ReviewOutcome(StrEnum):
    """How it was judged."""

    JUSTIFIED = "justified"
    UNJUSTIFIED = "unjustified"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Review(Confidential):
    """How a compliance officer, the account `by`, judged it."""

    outcome: ReviewOutcome
    note: str
    by: UUID
    at: datetime

    def __post_init__(self) -> None:
        """Raise `Invalid` without a note: an outcome that gives no reason cannot be checked."""
        require_text("note", self.note)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class BreakGlass(Confidential):
    """That `account` broke the glass for one patient, from `opened_at` until `expires_at` or until it was closed.

    Before `opened_at` it gives nothing, as after its end: a clock that is set back does not prolong it, and nothing is
    done under it at instants of which the review is not told.

    It holds what 42 CFR 2.51(c) wants recorded of a disclosure in an emergency (as amended, 89 FR 12628): the name of
    the medical personnel to whom it was made, `name`, and their `affiliation` with any health care facility (c)(1); the
    name of the person who made it, `disclosed_by` (c)(2); its date and time, `opened_at`, and in the trail that of each
    look (c)(3); and the nature of the emergency, `reason` (c)(4).

    `alerted` is how many compliance officers were told.
    """

    id: BreakGlassId
    patient: PatientId
    account: AccountId
    role: Role
    name: str
    affiliation: str
    disclosed_by: str
    reason: str
    purpose: Purpose = Purpose.EMERGENCY
    opened_at: datetime
    expires_at: datetime
    alerted: int = 0
    closed_at: datetime | None = None
    review: Review | None = None
    version: int = 0

    def __post_init__(self) -> None:
        """Raise `Invalid` naming the first field that breaks a rule."""
        require_text("reason", self.reason)
        for name in ("name", "affiliation", "disclosed_by"):
            require_text(name, getattr(self, name), at_most=MAX_NAME)
        if self.expires_at <= self.opened_at:
            raise Invalid("expires_at", "must be after opened_at")

    @property
    def status(self) -> BreakGlassStatus:
        """Whether somebody has judged it."""
        return BreakGlassStatus.UNREVIEWED if self.review is None else BreakGlassStatus.REVIEWED

    @property
    def usable_from(self) -> datetime:
        """The first instant at which it gives access, by the clock of another server."""
        return self.opened_at - CLOCKS_DIFFER

    @property
    def ends_at(self) -> datetime:
        """The instant from which on it gives nothing any more."""
        return self.expires_at if self.closed_at is None else min(self.closed_at, self.expires_at)

    def holds_at(self, at: datetime) -> bool:
        """Tell whether it gives access at an instant."""
        return self.usable_from <= at and not self.has_ended(at)

    def has_ended(self, at: datetime) -> bool:
        """Tell whether it gives nothing from an instant on."""
        return self.closed_at is not None or self.expires_at <= at

    def closed(self, at: datetime) -> Self:
        """Return it as ended at `at`. Raises `Conflict` if it has ended before."""
        if self.has_ended(at):
            raise Conflict("this access has ended before")
        return replace(self, closed_at=at)

    def reviewed(self, review: Review) -> Self:
        """Return it as judged; what is judged unjustified ends at once.

        Raises `Forbidden` for whoever broke the glass, and `Conflict` if it was judged before, or lasts still and is
        said to be justified: what is done in the time that is left would never be looked at.
        """
        if review.by == self.account:
            raise Forbidden("somebody else has to review this")
        if self.review is not None:
            raise Conflict("this was reviewed before")
        if self.has_ended(review.at):
            return replace(self, review=review)
        if review.outcome is ReviewOutcome.JUSTIFIED:
            raise Conflict("this access lasts still: review it when it has ended, or end it as unjustified")
        return replace(self, review=review, closed_at=review.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """What was done under it: how many events the trail has of it, and the instants of the first and the last."""

    count: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None


def allowed_time(minutes: int | None, at_most: timedelta) -> timedelta:
    """Return for how long the glass is broken: the practice's time, or less if that was asked for.

    Raises `Invalid` for less than a minute, and for more than the practice allows.
    """
    if minutes is None:
        return at_most
    most = at_most // timedelta(minutes=1)
    if not 1 <= minutes <= most:
        raise Invalid("minutes", f"must be from 1 to {most}")
    return timedelta(minutes=minutes)


def stated_affiliation(stated: str, practice: str) -> str:
    """Return the facility that somebody says they belong to, or the practice if they say none."""
    allow_text("affiliation", stated, at_most=MAX_NAME)
    return stated.strip() or practice
