"""Consents: what a patient allowed in writing, for how long, and what has to go with a record shown under one."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Self
from uuid import UUID

from clarity.domain.access.actors import Actor, Purpose
from clarity.domain.errors import Conflict, Invalid
from clarity.domain.ids import ConsentId, PatientId, PractitionerId
from clarity.domain.records import Label
from clarity.domain.values import Confidential, require_few, require_text

PART2_NOTICE: Final = "42 CFR part 2 prohibits unauthorized use or disclosure of these records."
"""The statement that goes with each disclosure, in the wording of the rule itself (42 CFR 2.32(a)(2))."""

_CONSENTABLE = frozenset({Label.PART2, Label.PSYCHOTHERAPY})


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Consent(Confidential):
    """A patient's written consent (42 CFR 2.31; for psychotherapy notes the authorisation of 45 CFR 164.508(a)(2)).

    It covers records with one of `labels`, used for one of `purposes`, by the practitioners in `recipients`, or by all
    who treat the patient if that is empty; `to_whom` and `what` say so in the words of the document. It holds from
    `since` until `until`, or until it is withdrawn. `recorded_by` is the account that entered it.
    """

    id: ConsentId
    labels: tuple[Label, ...]
    purposes: tuple[Purpose, ...]
    to_whom: str
    what: str
    since: datetime
    until: datetime | None = None
    recipients: tuple[PractitionerId, ...] = ()
    recorded_at: datetime
    recorded_by: UUID
    withdrawn_at: datetime | None = None
    withdrawn_by: UUID | None = None

    def __post_init__(self) -> None:
        """Raise `Invalid` naming the first field that breaks a rule."""
        if not self.labels or not _CONSENTABLE.issuperset(self.labels):
            raise Invalid("labels", f"must be one or more of {', '.join(sorted(_CONSENTABLE))}")
        if not self.purposes:
            raise Invalid("purposes", "a consent needs a purpose")
        if self.until is not None and self.until <= self.since:
            raise Invalid("until", "must be after since")
        require_text("to_whom", self.to_whom)
        require_text("what", self.what)
        for name in ("labels", "purposes", "recipients"):
            require_few(name, getattr(self, name))

    def covers(self, actor: Actor, label: Label, at: datetime) -> bool:
        """Tell whether `actor` may see a record with `label` under this consent at an instant."""
        return (
            self.holds_at(at)
            and label in self.labels
            and actor.purpose in self.purposes
            and (not self.recipients or actor.practitioner in self.recipients)
        )

    def holds_at(self, at: datetime) -> bool:
        """Tell whether the consent is in force at an instant."""
        withdrawn = self.withdrawn_at is not None and self.withdrawn_at <= at
        return self.since <= at and (self.until is None or at < self.until) and not withdrawn

    def withdraw(self, at: datetime, by: UUID) -> Self:
        """Return this consent as withdrawn; raises `Conflict` if it was before."""
        if self.withdrawn_at is not None:
            raise Conflict("the consent was withdrawn before")
        return replace(self, withdrawn_at=at, withdrawn_by=by)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ConsentRegister(Confidential):
    """All consents of one patient, in the order they were recorded. They are kept together, and sealed as one."""

    patient: PatientId
    consents: tuple[Consent, ...] = ()
    version: int = 0

    def __post_init__(self) -> None:
        """Raise `Invalid` if there are too many."""
        require_few("consents", self.consents)
