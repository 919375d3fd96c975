"""What is done with patients: for routes, and where there are none."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from auditlog.signals import accessed
from django.db import transaction

from benchmarks.peers import PAGE
from benchmarks.peers.django_project.models import Identifier, Patient

Numbers = Sequence[Mapping[str, str]]


def viewed(identity: UUID) -> Patient:
    """Return a patient with their identifiers, and note that somebody reads them."""
    patient: Patient = Patient.objects.prefetch_related("identifiers").get(pk=identity)
    accessed.send(Patient, instance=patient)
    return patient


def listed(after: str) -> tuple[list[Patient], int]:
    """Return the next page by id, and how many there are altogether."""
    everybody = Patient.objects.prefetch_related("identifiers").order_by("pk")
    behind = everybody.filter(pk__gt=after) if after else everybody
    return list(behind[:PAGE]), Patient.objects.count()


def registered(fields: Mapping[str, object], identifiers: Numbers) -> Patient:
    """Store somebody new, and note it."""
    with transaction.atomic():
        patient: Patient = Patient.objects.create(**fields)
        for identifier in identifiers:
            Identifier.objects.create(patient=patient, **identifier)
    return patient


def moved(identity: UUID, line: str) -> None:
    """Let a patient move to another street, and note it."""
    with transaction.atomic():
        patient = Patient.objects.select_for_update().get(pk=identity)
        patient.line = line
        patient.version += 1
        patient.save()


def stored(people: Sequence[tuple[Mapping[str, object], Numbers]]) -> None:
    """Store many at once, of whom nothing is noted."""
    patients = [Patient(**fields) for fields, _ in people]
    with transaction.atomic():
        Patient.objects.bulk_create(patients)
        Identifier.objects.bulk_create(
            Identifier(patient=patient, **identifier)
            for patient, (_, identifiers) in zip(patients, people, strict=True)
            for identifier in identifiers
        )
