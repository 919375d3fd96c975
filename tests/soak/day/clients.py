"""The people of a practice through a day, in a process of their own: they ask over HTTP, and note what they are told.

The argument names a file with their `Plan`. Once all have logged in they say so in a line, and the day begins. They ask
by its course, and when it is over, what they noted is in the file that the plan names.
"""

import asyncio
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from httpx import AsyncClient, HTTPError, Response

from tests.shells import PASSWORD
from tests.soak.day.course import HOURS, Part, Thing, part_at
from tests.soak.day.judging import Attempt, Written

FAMILIES: Final = (
    "Lovelace",
    "Okafor",
    "Alcantar",
    "Nguyen",
    "Haddad",
    "Kowalski",
    "Brandt",
    "Moreau",
    "Silva",
    "Tanaka",
)
ROOT: Final = "/api/v1"
_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where to ask, how long the day is, how many requests a second the busiest hour has, and who asks.

    `people` are the e-mail addresses with the practitioner that each is, "" at the front desk; `patients` have their
    care team.
    """

    address: str
    seconds: float
    per_second: float
    people: dict[str, str]
    patients: dict[str, list[str]]
    seed: int
    notes: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a plan from a file."""
        return cls(**json.loads(path.read_text()))


@dataclass(slots=True)
class Notes:
    """What all of them were told, and the patients that they know, by practitioner; "" knows all."""

    attempts: list[Attempt] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    patients: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def meet(self, patient: str, care_team: list[str]) -> None:
        """Remember a patient."""
        for who in ("", *care_team):
            self.patients[who].append(patient)


@dataclass(slots=True)
class Person:
    """Somebody who works in the practice, and does one thing after another."""

    email: str
    practitioner: str
    plan: Plan
    notes: Notes
    http: AsyncClient
    chance: random.Random
    _token: str = field(default="", init=False)
    _expires: float = field(default=0.0, init=False)
    _ends: float = field(default=0.0, init=False)
    _count: int = field(default=0, init=False)

    async def work(self, began: float) -> None:
        """Do what the hour brings until the day is over."""
        things: dict[Thing, Callable[[], Awaitable[object]]] = {
            Thing.LOG_IN: self.log_in,
            Thing.VIEW: self._view,
            Thing.LIST: lambda: self._ask(Thing.LIST, "GET", "/patients?limit=20"),
            Thing.SEARCH: self._search,
        }
        things |= (
            {Thing.HISTORY: self._history}
            if self.practitioner
            else {Thing.REGISTER: self._register, Thing.CHANGE: self._change}
        )
        while (passed := time.monotonic() - began) < self.plan.seconds:
            part = part_at(passed / self.plan.seconds * HOURS)
            pause = self.chance.expovariate(self.plan.per_second * part.load / len(self.plan.people))
            left = part.until / HOURS * self.plan.seconds - passed
            await asyncio.sleep(min(pause, left))
            if pause < left:  # otherwise the next part has a pace of its own
                if time.monotonic() > self._expires:
                    await self.log_in()
                if self._token:
                    await things[self._drawn(part, things)]()

    def _drawn(self, part: Part, things: dict[Thing, Any]) -> Thing:
        mine = [thing for thing in part.things if thing in things]
        [drawn] = self.chance.choices(mine, [part.things[thing] for thing in mine])
        return drawn

    async def log_in(self) -> None:
        """Log in, and out before if that was done already, unless whoever did nothing for long cannot any more."""
        body = {"email": self.email, "password": PASSWORD}
        if self._token and time.monotonic() < self._ends:
            await self._ask(Thing.LOG_IN, "DELETE", "/sessions/current")
        self._token, self._expires = "", 0.0
        if answer := await self._ask(Thing.LOG_IN, "POST", "/sessions", body):
            told = answer.json()
            self._token, now = told["access_token"], time.monotonic()
            self._expires, self._ends = now + 0.8 * told["expires_in"], now + 0.95 * told["expires_in"]

    async def _view(self) -> Response | None:
        return await self._ask(Thing.VIEW, "GET", f"/patients/{self._patient()}")

    async def _history(self) -> None:
        await self._ask(Thing.HISTORY, "GET", f"/patients/{self._patient()}/history")

    async def _search(self) -> None:
        family = self.chance.choice(FAMILIES).lower()
        begin = self.chance.randrange(len(family) - 2)
        await self._ask(Thing.SEARCH, "POST", "/patients/search", {"name": family[begin : begin + 3], "limit": 20})

    async def _register(self) -> None:
        team = self.chance.sample([one for one in self.plan.people.values() if one], 2)
        body = {
            "names": [{"family": self.chance.choice(FAMILIES), "given": [f"Kim{self.chance.randrange(1_000)}"]}],
            "born": f"{self.chance.randrange(1930, 2020)}-04-12",
            "telecoms": [{"system": "email", "value": self._address()}],
            "care_team": team,
        }
        if answer := await self._ask(Thing.REGISTER, "POST", "/patients", body):
            self._note_write(answer)
            self.notes.meet(answer.json()["id"], team)

    async def _change(self) -> None:
        if seen := await self._view():
            body = {"telecoms": [{"system": "email", "value": self._address()}]}
            headers = {"If-Match": seen.headers["ETag"], "Content-Type": "application/merge-patch+json"}
            if answer := await self._ask(Thing.CHANGE, "PATCH", f"/patients/{seen.json()['id']}", body, headers):
                self._note_write(answer)

    def _patient(self) -> str:
        return self.chance.choice(self.notes.patients[self.practitioner])

    def _address(self) -> str:
        self._count += 1
        name, _, place = self.email.partition("@")
        return f"{name}-{self._count}@{place}"

    def _note_write(self, answer: Response) -> None:
        told = answer.json()
        self.notes.written.append(Written(told["id"], told["version"], told["telecoms"][0]["value"]))

    async def _ask(
        self, thing: Thing, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Response | None:
        """Return the answer if it is a good one, and note it however it is."""
        sent = {**(headers or {}), **({"Authorization": f"Bearer {self._token}"} if self._token else {})}
        answer, began = None, time.monotonic()
        with suppress(HTTPError):
            answer = await self.http.request(method, ROOT + path, json=body, headers=sent)
        seconds = time.monotonic() - began
        if answer is None:
            self.notes.attempts.append(Attempt(thing, 0, "", "", seconds))
            return None
        code = "" if answer.is_success else answer.json()["type"].rpartition(":")[2]
        self.notes.attempts.append(Attempt(thing, answer.status_code, code, answer.headers["X-Request-Id"], seconds))
        return answer if answer.is_success else None


async def _day(plan: Plan) -> Notes:
    notes = Notes()
    for patient, care_team in plan.patients.items():
        notes.meet(patient, care_team)
    async with AsyncClient(base_url=plan.address, timeout=_TIMEOUT_SECONDS, trust_env=False) as http:
        people = [
            Person(email, practitioner, plan, notes, http, random.Random(f"{plan.seed}-{email}"))
            for email, practitioner in plan.people.items()
        ]
        for person in people:
            await person.log_in()
        print("the day begins", flush=True)
        began = time.monotonic()
        await asyncio.gather(*(person.work(began) for person in people))
    return notes


def main() -> None:
    """Work through the day of the plan, and write down what was noted."""
    plan = Plan.read(Path(sys.argv[1]))
    notes = asyncio.run(_day(plan))
    Path(plan.notes).write_text(json.dumps({"attempts": notes.attempts, "written": notes.written}))


if __name__ == "__main__":
    main()
