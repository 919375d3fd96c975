"""The API on each kind of storage."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from clarity.api.patients.shapes import RegistrationIn
from clarity.domain.ids import PatientId
from clarity.domain.patients import Patient
from clarity.persistence.engine import Database
from clarity.security.keyring import Keyring
from tests.api.clinic import WHOLE, Chart, Clinic, opened_clinic
from tests.api.house import House, furnished
from tests.builders import a_patient, new_id
from tests.practice import Practice, memory_practice, sql_practice
from tests.searching import resident_search


@pytest.fixture
async def clinic(practice: Practice, keyring: Keyring) -> AsyncIterator[Clinic]:
    """Return the API on each storage in turn."""
    async with opened_clinic(practice, keyring) as clinic:
        yield clinic


@pytest.fixture
async def memory_clinic(keyring: Keyring) -> AsyncIterator[Clinic]:
    """Return the API over memory, for what happens before anything is stored."""
    async with opened_clinic(memory_practice(), keyring) as clinic:
        yield clinic


@pytest.fixture
async def chart(clinic: Clinic) -> Chart:
    """Return a stored patient with a clinician who treats them."""
    return await charted(clinic, a_patient(notes="Sleeps badly since October."))


@pytest.fixture
async def memory_chart(memory_clinic: Clinic) -> Chart:
    """Return a patient about whom everything is recorded, with a clinician who treats them."""
    return await charted(
        memory_clinic, RegistrationIn.model_validate_json(json.dumps(WHOLE)).patient(PatientId(new_id()))
    )


async def charted(clinic: Clinic, patient: Patient) -> Chart:
    """Store a patient and return them with a clinician who treats them."""
    clinician, practitioner = await clinic.clinician()
    stored = await clinic.practice.stored(replace(patient, care_team=frozenset({practitioner.id})))
    return Chart(clinician, practitioner, stored)


@pytest.fixture
async def house(database: Database, keyring: Keyring) -> AsyncIterator[House]:
    """Return a practice on each database, with somebody in each role and patients in every relation to them."""
    async with (
        sql_practice(database, keyring) as practice,
        opened_clinic(practice, keyring, search=resident_search(practice, keyring)) as clinic,
    ):
        yield await furnished(clinic)
