"""The same requests to a practice in memory and to one on SQLite: two answers that must be alike (Hypothesis).

The fake is what most tests of the application run on, so wherever it differs from the real thing, they prove nothing.
"""

import asyncio
import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from httpx import AsyncClient, Response
from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from clarity.api.patients.shapes import EXAMPLE
from clarity.domain.access import Role
from clarity.persistence.engine import EngineOptions
from tests.api.clinic import opened_clinic
from tests.builders import a_keyring, a_practitioner
from tests.fuzz.practice import CONSENT
from tests.practice import memory_practice, sql_practice
from tests.servers import migrated_file, opened

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_CURSOR = re.compile(r'"next_cursor":"[^"]+"')
_ROLES = (Role.CLINICIAN, Role.FRONT_DESK, Role.NURSE, Role.COMPLIANCE_OFFICER, Role.ADMINISTRATOR)
_roles = st.sampled_from(_ROLES)
_versions = st.integers(1, 6)
_JSON = {"Content-Type": "application/json"}


class Twin:
    """One of the two practices. `ids` are those it gave, in the order in which it gave them."""

    def __init__(self) -> None:
        """Know nobody yet."""
        self.people: dict[Role, AsyncClient] = {}
        self.ids: dict[str, str] = {}
        self.of: dict[str, str] = {}

    async def open(self, stack: AsyncExitStack, path: Path | None) -> None:
        """Open the practice in memory, or on the file at `path`."""
        keyring = a_keyring()
        if path is None:
            practice = memory_practice()
        else:
            database = await stack.enter_async_context(opened(EngineOptions(url=f"sqlite+aiosqlite:///{path}")))
            practice = await stack.enter_async_context(sql_practice(database, keyring))
        clinic = await stack.enter_async_context(opened_clinic(practice, keyring))
        practitioners = [await practice.employed(a_practitioner()) for _ in range(2)]
        for role in _ROLES:
            tied = practitioners.pop() if role in {Role.CLINICIAN, Role.NURSE} else None
            if tied is not None:
                self._name(str(tied.id))
            self.people[role] = await clinic.logged_in(role, practitioner=tied.id if tied else None)

    def _name(self, identity: str) -> str:
        name = self.ids.setdefault(identity, f"<{len(self.ids)}>")
        self.of[name] = identity
        return name

    async def ask(self, role: Role, method: str, path: str, body: Any, headers: dict[str, str]) -> str:
        """Ask, with names in the place of ids, and return all that was answered, likewise."""
        content = None if body is None else self._told(json.dumps(body))
        answer: Response = await self.people[role].request(
            method, self._told(path), content=content, headers={**(_JSON if content else {}), **headers}
        )
        text = _CURSOR.sub('"next_cursor":"more"', answer.text)
        shown = _ID.sub(lambda found: self._name(found[0]), text)
        return f"{answer.status_code} {answer.headers.get('etag')} {shown}"

    def _told(self, text: str) -> str:
        return re.sub(r"<\d+>", lambda found: self.of.get(found[0], found[0]), text)


class Twins(RuleBasedStateMachine):
    """Both practices, and what is done to them."""

    patients = Bundle("patients")

    def __init__(self) -> None:
        """Open both."""
        super().__init__()
        self._loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        self._folder = tempfile.TemporaryDirectory(prefix="clarity-fuzz-")
        self._memory, self._sqlite = Twin(), Twin()
        self._count = 0

    def teardown(self) -> None:
        """Close both."""
        self._loop.run_until_complete(self._stack.aclose())
        self._loop.close()
        self._folder.cleanup()

    @initialize()
    def open(self) -> None:
        """Open both practices."""
        path = Path(self._folder.name) / "twin.db"
        migrated_file(path)
        self._loop.run_until_complete(self._memory.open(self._stack, None))
        self._loop.run_until_complete(self._sqlite.open(self._stack, path))

    def _ask(self, role: Role, method: str, path: str, body: Any = None, version: int = 0) -> str:
        headers = {"If-Match": f'"{version}"'} if version else {}
        one, other = (
            self._loop.run_until_complete(twin.ask(role, method, path, body, headers))
            for twin in (self._memory, self._sqlite)
        )
        asked[int(one[:3])] += 1
        assert one == other, f"{role.title} {method} {path}\nin memory: {one[:600]}\non SQLite: {other[:600]}"
        return one

    @rule(target=patients, role=_roles, team=st.sampled_from([[], ["<0>"], ["<1>"], ["<0>", "<1>"]]), ssn=st.booleans())
    def register(self, role: Role, team: list[str], ssn: bool) -> str:
        """Register somebody."""
        self._count += 1
        identifiers = [{"kind": "mrn", "value": f"MRN-{self._count}"}]
        identifiers += [{"kind": "ssn", "value": "999-12-3456"}] if ssn else []
        body = {**EXAMPLE, "identifiers": identifiers, "care_team": team}
        told = self._ask(role, "POST", "/patients", body)
        found = re.search(r'"id":"(<\d+>)"', told)
        return found[1] if found and told.startswith("201") else "<999>"

    @rule(patient=patients, role=_roles, what=st.sampled_from(["", "/history", "/consents", "/tombstone"]))
    def look(self, patient: str, role: Role, what: str) -> None:
        """Look at somebody."""
        self._ask(role, "GET", f"/patients/{patient}{what}")

    @rule(
        role=_roles, path=st.sampled_from(["/patients", "/patients?status=active", "/patients?limit=1", "/duplicates"])
    )
    def look_through(self, role: Role, path: str) -> None:
        """Look at lists."""
        self._ask(role, "GET", path)

    @rule(role=_roles, name=st.sampled_from(["alc", "jos", "zz", "é"]))
    def search(self, role: Role, name: str) -> None:
        """Search by a fragment of a name."""
        self._ask(role, "POST", "/patients/search", {"name": name})

    @rule(
        role=_roles,
        name=st.sampled_from(["alkantar", "hosé", "marea", "a", "zz"]),
        born=st.sampled_from([None, "1985"]),
    )
    def hear(self, role: Role, name: str, born: str | None) -> None:
        """Search by a name that was heard."""
        self._ask(role, "POST", "/patients/similar", {"name": name, "born": born})

    @rule(
        patient=patients, role=_roles, version=_versions, patch=st.sampled_from(({"notes": "A"}, {"telecoms": []}, {}))
    )
    def change(self, patient: str, role: Role, version: int, patch: dict[str, Any]) -> None:
        """Change somebody's record."""
        self._ask(role, "PATCH", f"/patients/{patient}", patch, version)

    @rule(patient=patients, role=_roles, version=_versions, label=st.sampled_from(["normal", "restricted", "part2"]))
    def relabel(self, patient: str, role: Role, version: int, label: str) -> None:
        """Make a record more or less confidential."""
        self._ask(role, "PUT", f"/patients/{patient}/label", {"label": label, "lose_sight": True}, version)

    @rule(patient=patients, role=_roles, version=_versions, team=st.sampled_from([["<0>"], ["<0>", "<1>"], []]))
    def tie(self, patient: str, role: Role, version: int, team: list[str]) -> None:
        """Change who treats somebody."""
        self._ask(role, "PUT", f"/patients/{patient}/care-team", {"practitioners": team}, version)

    @rule(patient=patients, role=_roles, version=_versions, what=st.sampled_from(["discharge", "reactivate", "death"]))
    def live(self, patient: str, role: Role, version: int, what: str) -> None:
        """Discharge somebody, take them back, or record their death."""
        body = {"discharge": {"day": "2026-01-01"}, "death": {}}.get(what)
        self._ask(role, "POST", f"/patients/{patient}/{what}", body, version)

    @rule(patient=patients, role=_roles, end=st.booleans())
    def hold(self, patient: str, role: Role, end: bool) -> None:
        """Place a legal hold, or release it."""
        body = None if end else {"basis": "Docket 26-117"}
        self._ask(role, "DELETE" if end else "PUT", f"/patients/{patient}/legal-hold", body)

    @rule(patient=patients, role=_roles)
    def remove(self, patient: str, role: Role) -> None:
        """Delete a record."""
        body = {"reason": "patient-request", "basis": "Letter of 3 March", "override_retention": True}
        self._ask(role, "POST", f"/patients/{patient}/delete", body)

    @rule(patient=patients, role=_roles)
    def consent(self, patient: str, role: Role) -> None:
        """Record a consent."""
        self._ask(role, "POST", f"/patients/{patient}/consents", CONSENT)

    @rule(patient=patients, role=_roles)
    def break_glass(self, patient: str, role: Role) -> None:
        """Break the glass for somebody."""
        self._ask(role, "POST", "/break-glass", {"patient": patient, "reason": "Found unconscious."})


asked: Counter[int] = Counter()
"""How many requests both were asked, by the status of the answer."""


def machine(seed: int, steps: int = 40, examples: int = 3) -> Callable[[], None]:
    """Return a function that compares the two over some random lives of theirs."""
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )

    def run() -> None:
        seeded(seed)(Twins)
        run_state_machine_as_test(Twins, settings=chosen)

    return run
