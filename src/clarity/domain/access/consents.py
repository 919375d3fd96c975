"""Consents: what a patient allowed in writing, for how long, and what has to go with a record shown under one."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Final, Self
from uuid import UUID

from clarity.domain.access.actors import Actor, Purpose
from clarity.domain.dates import latest_day
from clarity.domain.errors import Conflict, Invalid, NotFound
from clarity.domain.ids import ConsentId, PatientId, PractitionerId
from clarity.domain.records import Label
from clarity.domain.values import Confidential, allow_text, require_few, require_text

PART2_NOTICE: Final = "42 CFR part 2 prohibits unauthorized use or disclosure of these records."
"""The statement that goes with each disclosure, in the wording of the rule itself (42 CFR 2.32(a)(2), 89 FR 12472)."""

# Those withdrawn and expired are kept too, so the limit must outlast decades of renewals. The register is opened as a
# whole with each record that a label keeps back: 500 consents of ordinary length stay below a megabyte.
MOST_CONSENTS: Final = 500

_CONSENTABLE = frozenset({Label.PART2, Label.PSYCHOTHERAPY})


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Consent(Confidential):
    """A patient's written consent (42 CFR 2.31; for psychotherapy notes the authorisation of 45 CFR 164.508(c)).

    It covers records with one of `labels`, used for one of `purposes`, by the practitioners in `recipients`, or by all
    who treat the patient if that is empty. It holds from `since` until `until`, or until it is withdrawn. `recorded_by`
    is the account that entered it.

    The rest is what the rule wants of the document, in its words: `from_whom` may disclose (2.31(a)(2)) `what` (a)(3)
    `to_whom` (a)(4); `ends_with` the event or condition that ends it where no instant is set, or "none" (a)(7);
    `signed_by` whom (a)(8) and when (a)(9); and `document` the form itself, on which the right to revoke it (a)(6) and
    the statements about redisclosure (a)(10) stand.
    """

    id: ConsentId
    labels: tuple[Label, ...]
    purposes: tuple[Purpose, ...]
    from_whom: str
    to_whom: str
    what: str
    since: datetime
    until: datetime | None = None
    ends_with: str = ""
    signed_by: str
    signed_on: date
    document: str
    recipients: tuple[PractitionerId, ...] = ()
    recorded_at: datetime
    recorded_by: UUID
    withdrawn_at: datetime | None = None
    withdrawn_by: UUID | None = None

    def __post_init__(self) -> None:
        """Raise `Invalid` naming the first field that breaks a rule."""
        self._check_reach()
        for name in ("since", "until", "recorded_at", "withdrawn_at"):
            instant: datetime | None = getattr(self, name)
            if instant is not None and instant.utcoffset() is None:
                raise Invalid(name, "must have an offset from UTC")
        if self.until is None and not self.ends_with:
            raise Invalid("until", "a consent needs an end, or in ends_with the event that ends it")
        if self.until is not None and self.until <= self.since:
            raise Invalid("until", "must be after since")
        if self.signed_on > latest_day(self.since):
            raise Invalid("signed_on", "must not be after since")
        for name in ("from_whom", "to_whom", "what", "signed_by", "document"):
            require_text(name, getattr(self, name))
        allow_text("ends_with", self.ends_with)

    def _check_reach(self) -> None:
        if not self.labels or not _CONSENTABLE.issuperset(self.labels):
            raise Invalid("labels", f"must be one or more of {', '.join(sorted(_CONSENTABLE))}")
        if Label.PSYCHOTHERAPY in self.labels and len(set(self.labels)) > 1:
            # 45 CFR 164.508(b)(3)(ii): an authorisation for psychotherapy notes may be combined with no other.
            raise Invalid("labels", "psychotherapy notes need a consent of their own")
        if not self.purposes:
            raise Invalid("purposes", "a consent needs a purpose")
        for name in ("labels", "purposes", "recipients"):
            items = getattr(self, name)
            require_few(name, items)
            if len(set(items)) < len(items):
                raise Invalid(name, "must name each only once")

    @property
    def scope(self) -> str:
        """What is allowed, in words: the explanation that goes with each disclosure (42 CFR 2.32(b))."""
        purposes = ", ".join(purpose.name.lower().replace("_", " ") for purpose in self.purposes)
        end = (
            f"until {self.until.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
            if self.until is not None
            else f"ends with: {self.ends_with}"
        )
        return f"{self.what} · from {self.from_whom} · to {self.to_whom} · for {purposes} · {end}"

    def covers(self, actor: Actor, label: Label, at: datetime) -> bool:
        """Tell whether `actor` may see a record with `label` under this consent at an instant."""
        return (
            self.holds_at(at)
            and label in self.labels
            and actor.purpose in self.purposes
            and (not self.recipients or actor.practitioner in self.recipients)
        )

    def holds_at(self, at: datetime) -> bool:
        """Tell whether the consent is in force at an instant, the present one.

        One that was withdrawn never is again, whatever the clocks say: the one of who withdrew it may have been ahead.
        """
        return self.withdrawn_at is None and self.since <= at and (self.until is None or at < self.until)

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
        require_few("consents", self.consents, at_most=MOST_CONSENTS)

    def consent(self, consent: ConsentId) -> Consent:
        """Return one of them. Raises `NotFound` if it is not the patient's."""
        for one in self.consents:
            if one.id == consent:
                return one
        raise NotFound

    def with_new(self, consent: Consent) -> Self:
        """Return this register with one more."""
        return replace(self, consents=(*self.consents, consent))

    def without(self, consent: ConsentId, at: datetime, by: UUID) -> Self:
        """Return this register with one withdrawn. Raises `NotFound`, and `Conflict` if it was withdrawn before."""
        withdrawn = self.consent(consent).withdraw(at, by)
        return replace(self, consents=tuple(withdrawn if one.id == consent else one for one in self.consents))
