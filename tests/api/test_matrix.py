"""The policy from outside: every role, action with a route, relation and label, through HTTP, on SQLite and PostgreSQL.

What is expected stands in tests/policy.txt, and nowhere in the code.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any
from uuid import UUID

from httpx import Response

from clarity.api.patients.shapes import PatientOut
from clarity.application.pages import MAX_PAGE
from clarity.domain.access import Action, Relation, Role
from clarity.domain.likeness import MOST_ALIKE
from clarity.domain.patients import FIELD_BITS, PatientField
from clarity.domain.people import Gender
from clarity.domain.records import Label, Resource
from tests.api.clinic import seen, told
from tests.api.house import SSN, Caller, House
from tests.builders import TODAY, new_id
from tests.policy_table import decided_cells

STALE = 7
"""A version at which no record here is."""


@dataclass(frozen=True, slots=True)
class Attempted:
    """How an action on one patient is tried: what is sent, and what is answered to whoever may."""

    method: str
    path: str
    body: Any = None
    version: int = 0
    answer: int = 200
    shows: str = ""

    async def by(self, caller: Caller, patient: UUID) -> Response:
        """Try it."""
        headers = {"Content-Type": "application/merge-patch+json" if self.method == "PATCH" else "application/json"}
        if self.version:
            headers |= seen(self.version)
        path = f"/patients/{patient}{self.path}"
        content = None if self.body is None else json.dumps(self.body)
        return await caller.http.request(self.method, path, headers=headers, content=content)


def attempts(house: House) -> dict[Action, Attempted]:
    """Return how each action on one patient is tried without changing anybody.

    What nobody could do twice is asked for at another version: whoever may is told that the record has changed, and
    all others that there is none.
    """
    unchanged: dict[str, Any] = {}
    team = {"practitioners": sorted(str(member) for member in house.team)}
    return {
        Action.VIEW: Attempted("GET", "", shows="patient"),
        Action.VIEW_HISTORY: Attempted("GET", "/history", shows="history"),
        Action.CHANGE: Attempted("PATCH", "", unchanged, version=1, shows="patient"),
        Action.CHANGE_CARE_TEAM: Attempted("PUT", "/care-team", team, version=STALE, answer=412),
        Action.DISCHARGE: Attempted("POST", "/discharge", {"day": str(TODAY)}, version=STALE, answer=412),
        Action.REACTIVATE: Attempted("POST", "/reactivate", version=STALE, answer=412),
        Action.RECORD_DEATH: Attempted("POST", "/death", {"day": str(TODAY)}, version=STALE, answer=412),
        # Everybody here is under a legal hold, which is placed once, and keeps records from being deleted.
        Action.CHANGE_LEGAL_HOLD: Attempted("PUT", "/legal-hold", {"basis": "Docket 26-118"}, answer=409),
        Action.DELETE: Attempted("POST", "/delete", {"reason": "registered twice"}, answer=409),
    }


async def test_every_role_gets_what_was_decided_of_every_patient_and_no_more(house: House) -> None:
    tried = 0
    for caller, (action, attempted) in product(house.callers, attempts(house).items()):
        absent = await attempted.by(caller, new_id())
        assert absent.status_code == 404
        for patient in caller.patients:
            answer = await attempted.by(caller, patient.id)
            fields = patient.expected(caller.account, action)
            case = (caller.account.role, action, patient.held_by(caller.account), patient.label, patient.consent)
            tried += 1
            if fields is None:
                assert told(answer) == told(absent), case
                continue
            assert answer.status_code == attempted.answer, case
            for shown in shown_in(answer, attempted.shows):
                assert filled(shown) == visible(fields), case
                notice = patient.label is Label.PART2 and Relation.SELF not in patient.held_by(caller.account)
                assert (shown["notice"] is not None) == notice, case
    assert tried > 500


async def test_lists_searches_and_totals_have_whom_the_caller_may_see_and_nobody_else(house: House) -> None:
    for caller in house.callers:
        for action, answer in (
            (Action.LIST, await caller.http.get("/patients", params={"limit": MAX_PAGE})),
            (Action.SEARCH, await caller.http.post("/patients/search", json={"limit": MAX_PAGE})),
            (
                Action.SEARCH,
                await caller.http.post("/patients/similar", json={"name": "alkantar", "limit": MOST_ALIKE}),
            ),
            (Action.SEARCH_BY_SSN, await caller.http.post("/patients/search", json={"ssn": SSN, "limit": MAX_PAGE})),
        ):
            covered = {
                str(patient.id): fields
                for patient in house.known
                if (fields := patient.expected(caller.account, action)) is not None
            }
            if action is Action.SEARCH_BY_SSN and not _has(caller.account.role, action):
                assert answer.status_code == 403
                continue
            page = answer.json()
            assert page["total"] == {"count": len(covered), "exact": True}, (caller.account.role, action)
            assert page["next_cursor"] in ("", None)
            items = [item.get("patient", item) for item in page["items"]]
            assert {shown["id"] for shown in items} == set(covered), (caller.account.role, action)
            for shown in items:
                assert filled(shown) == visible(covered[shown["id"]]), (caller.account.role, action)
            if action is Action.LIST:
                assert await joined(caller) == [shown["id"] for shown in page["items"]]


async def joined(caller: Caller) -> list[str]:
    """Return the patients of a caller in the order of their list, fetched a few at a time."""
    found, cursor = list[str](), ""
    while True:
        page = (await caller.http.get("/patients", params={"limit": 9, "cursor": cursor})).json()
        found += [shown["id"] for shown in page["items"]]
        cursor = page["next_cursor"]
        if not cursor:
            return found


def _has(role: Role, action: Action) -> bool:
    return any(
        (role, Resource.PATIENT, action, relation, label) in decided_cells()
        for relation, label in product(Relation, Label)
    )


def shown_in(answer: Response, shows: str) -> Iterator[dict[str, Any]]:
    """Yield every patient in an answer."""
    if shows == "patient":
        yield answer.json()
    elif shows == "history":
        yield from (revision["patient"] for revision in answer.json()["items"])


ON_THE_WIRE = {name: bit for name, bit in FIELD_BITS.items() if name in PatientOut.model_fields}
BLANK: tuple[object, ...] = (None, "", [], str(Gender.UNKNOWN), str(Label.NORMAL))


def filled(shown: dict[str, Any]) -> set[str]:
    """Return the fields of a patient that say something, but for the label, which may be normal."""
    return {name for name in ON_THE_WIRE if shown[name] not in BLANK} - {"label"}


def visible(fields: PatientField) -> set[str]:
    """Return the fields that say something to whoever may see `fields`; names and date of birth always do."""
    return {name for name, bit in ON_THE_WIRE.items() if bit in fields} - {"label"} | {"names", "born"}
