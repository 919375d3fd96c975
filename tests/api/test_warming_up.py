"""What callers are told by a server whose search index is not there yet."""

from clarity.domain.access import Role
from clarity.domain.audit import Outcome
from clarity.search.resident import ResidentSearch
from clarity.search.streaming import StreamingSearch
from clarity.security.keyring import Keyring
from tests.api.clinic import code, opened_clinic
from tests.builders import TODAY, a_patient
from tests.practice import memory_practice
from tests.searching import changes_in


async def _refused(count: int) -> None:
    del count
    raise LookupError  # so that the index never is


async def test_a_search_that_is_too_early_is_to_come_again_and_all_else_is_answered(keyring: Keyring) -> None:
    practice = memory_practice()
    ada = await practice.stored(a_patient())
    async with changes_in(practice, keyring) as feed:
        search = ResidentSearch(
            feed, StreamingSearch(lambda: TODAY), _refused, today=lambda: TODAY, patience_seconds=0.05
        )
        async with opened_clinic(practice, keyring, search=search.running()) as clinic:
            desk = await clinic.front_desk()
            refused = await desk.post("/patients/search", json={"name": "lovelace"})
            assert (refused.status_code, code(refused)) == (503, "warming-up")
            assert int(refused.headers["Retry-After"]) >= 1
            assert (await practice.events())[-1].outcome is Outcome.FAILED
            exact = await desk.post("/patients/search", json={"mrn": ada.mrns[0].value})
            assert exact.json()["total"] == {"count": 1, "exact": True}
            assert (await desk.get(f"/patients/{ada.id}")).status_code == 200
            researcher = await clinic.logged_in(Role.RESEARCHER)
            assert (await researcher.post("/patients/search", json={"name": "lovelace"})).status_code == 503
