"""What it costs to look into a chart: as many statements whatever is in it, and no more than there may be."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient

from clarity.application.charts import Charting
from clarity.domain.access import Actor
from clarity.domain.amendments import Amendment
from clarity.domain.ids import AmendmentId, NoteId, PatientId, PractitionerId
from clarity.domain.notes import Note, NoteKind
from clarity.domain.records import Label
from clarity.persistence.engine import Database
from clarity.security.keyring import Keyring
from tests.api.clinic import Clinic, opened_clinic
from tests.builders import (
    NOW,
    TODAY,
    a_patient,
    a_practitioner,
    a_prescription,
    an_actor,
    an_appointment,
    an_interaction,
    new_id,
)
from tests.fakes.accounts import PASSWORD
from tests.practice import sql_practice
from tests.servers import counted


@pytest.fixture
async def sqlite_clinic(sqlite: Database, keyring: Keyring) -> AsyncIterator[Clinic]:
    async with sql_practice(sqlite, keyring) as practice, opened_clinic(practice, keyring) as clinic:
        yield clinic


class Clinician:
    """Somebody who cares for two patients, and files more and more about them."""

    def __init__(self, clinic: Clinic, http: AsyncClient, actor: Actor, practitioner: PractitionerId) -> None:
        self.clinic, self.http, self.actor, self.practitioner = clinic, http, actor, practitioner
        self.filed = 0

    async def files(self, patient: PatientId) -> dict[str, UUID]:
        """File one record of each kind and label, and return one of each kind."""
        async with self.clinic.practice.begin() as work:
            found = {}
            for label in (Label.RESTRICTED, Label.PSYCHOTHERAPY, Label.NORMAL):
                kind = NoteKind.PSYCHOTHERAPY if label is Label.PSYCHOTHERAPY else NoteKind.PROGRESS
                note = Note(
                    id=NoteId(new_id()),
                    patient=patient,
                    kind=kind,
                    label=label,
                    body="Of a lighthouse.",
                    signed_at=NOW,
                    amendments=(_request(),),
                )
                made: list[tuple[str, Any, Any]] = [("notes", work.notes, note)]
                if label is not Label.PSYCHOTHERAPY:
                    starts_at = NOW + timedelta(minutes=10 * self.filed)
                    self.filed += 1
                    made += [
                        ("prescriptions", work.prescriptions, a_prescription(patient, label=label)),
                        ("interactions", work.interactions, an_interaction(patient, label=label)),
                        (
                            "appointments",
                            work.appointments,
                            an_appointment(patient, self.practitioner, starts_at, minutes=10, label=label),
                        ),
                    ]
                for name, records, entity in made:
                    charting: Charting[Any, Any] = Charting(work, records, self.actor, NOW)
                    await records.add(await charting.admit_new(entity), entity)
                    found[name] = entity.id
            return found


def _request() -> Amendment:
    return Amendment(
        id=AmendmentId(new_id()),
        what="The lighthouse",
        why="It was a windmill",
        received_on=TODAY,
        requested_at=NOW,
        requested_by=new_id(),
        by_patient=False,
    )


@pytest.fixture
async def clinician(sqlite_clinic: Clinic) -> Clinician:
    practitioner = (await sqlite_clinic.practice.employed(a_practitioner())).id
    account = await sqlite_clinic.door.employed(an_actor().role, practitioner=practitioner)
    opened = await sqlite_clinic.caller().post("/sessions", json={"email": account.email, "password": PASSWORD})
    http = sqlite_clinic.caller(opened.json()["access_token"])
    return Clinician(sqlite_clinic, http, an_actor(actor_id=account.id, practitioner=practitioner), practitioner)


def looks(clinician: Clinician, patient: PatientId, filed: dict[str, UUID]) -> dict[str, str]:
    """Return where what is in a chart is looked at, by a name that says no ids."""
    chart, practitioner = f"/patients/{patient}", f"/practitioners/{clinician.practitioner}"
    found = {f"list of {kind}": f"{chart}/{kind}" for kind in filed}
    found |= {f"one of {kind}": f"{chart}/{kind}/{record}" for kind, record in filed.items()}
    found |= {f"history of {kind}": f"{chart}/{kind}/{filed[kind]}/history" for kind in filed if kind != "interactions"}
    return found | {
        "search": f"{chart}/chart/search",
        "adherence": f"{chart}/prescriptions/{filed['prescriptions']}/adherence?since=2026-02-01",
        "prescriptions on a day": f"{chart}/prescriptions?on={TODAY}",
        "open amendments": "/amendments",
        "day": f"{practitioner}/appointments?day={TODAY}",
        "free slots": f"{practitioner}/free-slots?from={TODAY}",
        "calendar": f"{practitioner}/calendar.ics",
    }


async def test_a_look_into_a_chart_takes_as_many_statements_however_much_there_is(
    sqlite: Database, clinician: Clinician
) -> None:
    team = frozenset({clinician.practitioner})
    patients = [(await clinician.clinic.practice.stored(a_patient(care_team=team))).id for _ in range(2)]
    costs: list[dict[str, int]] = []
    for number in range(1, 6):
        filed, _ = [await clinician.files(patient) for patient in patients]
        if number not in {1, 5}:
            continue
        costs.append({})
        for name, path in looks(clinician, patients[0], filed).items():
            with counted(sqlite) as statements:
                if name == "search":
                    answer = await clinician.http.post(path, json={"query": "lighthouse"})
                else:
                    answer = await clinician.http.get(path)
            assert answer.status_code == 200, (name, answer.text)
            costs[-1][name] = len(statements)
    assert costs[0] == costs[1]
    assert max(costs[0].values()) < 10
