"""What those who run the service ask."""

from dataclasses import replace

from clarity.application.readiness import Readiness
from tests.api.clinic import Clinic


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
