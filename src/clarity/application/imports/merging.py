"""What becomes of a patient who is known here when a source speaks of them again."""

from dataclasses import replace

from clarity.domain.errors import Conflict
from clarity.domain.identifiers import Identifier, IdentifierKind
from clarity.domain.ids import PractitionerId
from clarity.domain.patients import Patient


def require_same_patient(stored: Patient, incoming: Patient) -> None:
    """Raise `Conflict` if both have medical record numbers, and none in common: ids of two systems collided."""
    known, came = ({(mrn.system, mrn.value) for mrn in patient.mrns} for patient in (stored, incoming))
    if known and came and known.isdisjoint(came):
        raise Conflict("this source id belongs to a patient with another MRN; name the source with --source")


def merged(stored: Patient, incoming: Patient, team: frozenset[PractitionerId]) -> Patient:
    """Return the stored patient with what the source says.

    What only this practice says stays: notes, label, discharge, legal hold, a death, contacts and insurances the source
    does not have, medical record numbers of its own. Caregivers are added and never taken away: an encounter shows
    who cared for somebody, not who no longer does.
    """
    return replace(
        incoming,
        id=stored.id,
        version=stored.version,
        identifiers=_with_own_mrns(stored, incoming),
        contacts=incoming.contacts or stored.contacts,
        insurances=incoming.insurances or stored.insurances,
        notes=stored.notes,
        discharged=stored.discharged,
        death=incoming.death or stored.death,
        legal_hold=stored.legal_hold,
        label=stored.label,
        sources=stored.sources,
        care_team=stored.care_team | team,
    )


def _with_own_mrns(stored: Patient, incoming: Patient) -> tuple[Identifier, ...]:
    ours = tuple(mrn for mrn in stored.mrns if not mrn.system)
    theirs = any(one.kind is IdentifierKind.MRN and not one.system for one in incoming.identifiers)
    return incoming.identifiers if theirs else (*incoming.identifiers, *ours)
