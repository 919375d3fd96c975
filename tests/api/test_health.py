"""What those who run the service ask."""

from dataclasses import replace

from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from clarity.application.readiness import Readiness
from clarity.domain.access import Role
from tests.api.clinic import Clinic
from tests.builders import a_patient


async def test_it_lives_whatever_else_does(memory_clinic: Clinic) -> None:
    answer = await memory_clinic.caller().get("http://clinic.test/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


async def test_it_is_ready_when_everything_is(memory_clinic: Clinic) -> None:
    async def trail_is_gone() -> Readiness:
        return Readiness({"database": "", "trail": "has a full queue"}, {"tables": "are ahead of this version"})

    nobody = memory_clinic.caller()
    ready = await nobody.get("http://clinic.test/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    memory_clinic.app.state.services = replace(memory_clinic.app.state.services, ready=trail_is_gone)
    not_ready = await nobody.get("http://clinic.test/ready")
    assert not_ready.status_code == 503
    assert not_ready.json() == {
        "status": "not ready",
        "checks": {"database": True, "trail": False},
        "reasons": {"trail": "has a full queue", "tables": "are ahead of this version"},
    }
    assert not_ready.headers["retry-after"] == "5"


async def test_it_answers_the_same_within_another_application(memory_clinic: Clinic) -> None:
    ada = await memory_clinic.practice.stored(a_patient())
    desk = await memory_clinic.logged_in(Role.FRONT_DESK)
    outer = FastAPI()
    outer.mount("/clinic", memory_clinic.app)
    async with AsyncClient(transport=ASGITransport(outer), headers=desk.headers) as within:
        answer = await within.get(f"http://clinic.test/clinic/api/v1/patients/{ada.id}")
    assert (answer.status_code, answer.content) == (200, (await desk.get(f"/patients/{ada.id}")).content)
