"""A trail to read: who reads it, when, and what it says."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from clarity.application.ports import TrailFormat
from clarity.application.trail import TrailService
from clarity.application.trail_csv import CsvTrail
from clarity.domain.access import Action, Actor, Role
from clarity.domain.audit import Attempt
from clarity.domain.ids import PatientId
from clarity.domain.trail import ExportFormat, TrailQuery
from clarity.fhir.audit_events import FhirTrail
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from tests.builders import NOW, an_actor, new_id
from tests.practice import Practice

OFFICER = an_actor(Role.COMPLIANCE_OFFICER)
NURSE = an_actor(Role.NURSE)
TICK = timedelta(microseconds=1)
LATER = NOW + timedelta(days=1)
"""When the trail is read; what the reading adds to it is from then on."""
PAST = TrailQuery(until=LATER)


def a_trail_service(practice: Practice, keyring: Keyring) -> TrailService:
    """Return the use-cases on the trail of a practice, from `LATER` on."""
    practice.clock.at = LATER
    formats: dict[ExportFormat, TrailFormat] = {
        ExportFormat.CSV: CsvTrail(),
        ExportFormat.FHIR: FhirTrail("Harbor Psychiatry"),
    }
    return TrailService(practice.reading, Cursors(keyring), practice.clock, formats)


async def noted(practice: Practice, *attempts: Attempt) -> None:
    """Let the trail say that something was tried."""
    async with practice.reading() as work:
        for attempt in attempts:
            work.note(attempt)


def viewed(patient: PatientId, actor: Actor = NURSE, **more: Any) -> Attempt:
    """Return that somebody viewed a patient."""
    return replace(Attempt(actor=actor, action=Action.VIEW, at=NOW, patient=patient, ids=(patient,)), **more)


def listed(*patients: UUID, actor: Actor = NURSE, **more: Any) -> Attempt:
    """Return that somebody was shown a list."""
    return replace(Attempt(actor=actor, action=Action.LIST, at=NOW, ids=patients), **more)


def a_patient_id() -> PatientId:
    """Return the id of a patient whom nobody has to know."""
    return PatientId(new_id())
