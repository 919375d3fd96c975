"""The clients of a soak, in a process of their own: they ask, over HTTP, and write down what they are told.

The argument names a file with their `Plan`. When standard input ends, they bring to an end what they began, resolve
what they can, and end.
"""

import asyncio
import json
import os
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

from httpx import AsyncClient, ConnectError, ConnectTimeout, HTTPError, Limits, Response, Timeout

from tests.soak.history import Attempt, End, Historian, Kind
from tests.soak.stored import MAIL, withdrawing

FAMILY = "Xochiquetzalli"
"""The family name of every patient here: what must be found nowhere but in answers."""

_SECONDS = 20.0
_KEYED = 0.6
_PERSISTENT = 0.75
_TRIES = 40
_NOBODY_THERE_SECONDS = 0.5
# Answers that say that a change may have been made; any other 503 says that it was not.
_SAY_NOTHING = {"outcome-unknown", "timed-out"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Who calls, with which tokens by role, where, and who is in care teams."""

    addresses: tuple[str, ...]
    tokens: dict[str, str]
    practitioners: tuple[str, ...]
    clients: int
    seed: int
    pause_seconds: float
    history: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a plan from a file."""
        told: dict[str, Any] = json.loads(path.read_text())
        for name in ("addresses", "practitioners"):
            told[name] = tuple(told[name])
        return cls(**told)


@dataclass(slots=True)
class Known:
    """What the clients know together: patients with those of their consents that were not withdrawn."""

    patients: list[str] = field(default_factory=list)
    consents: list[tuple[str, str]] = field(default_factory=list)
    unresolved: list[tuple[str, Kind, str, dict[str, Any]]] = field(default_factory=list)


@dataclass(slots=True)
class Client:
    """One client. It does one thing after another, as people do, at no particular server."""

    name: str
    plan: Plan
    known: Known
    historian: Historian
    http: AsyncClient
    chance: random.Random
    _count: int = field(default=0, init=False)

    async def go_on(self, stopping: asyncio.Event) -> None:
        """Ask for something again and again."""
        while not stopping.is_set():
            await self._one()
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), self.chance.uniform(0, 2 * self.plan.pause_seconds))

    async def settle(self) -> None:
        """Resolve what nobody knows yet, by asking with the same key again."""
        while self.known.unresolved:
            intent, kind, path, body = self.known.unresolved.pop()
            for _ in range(_TRIES):
                attempt = await self._make(intent, kind, path, body, keyed=True)
                if not _may_help(attempt):
                    break
                await asyncio.sleep(0.25)

    async def _one(self) -> None:
        known = self.known
        few = len(known.patients) < 10
        things: list[tuple[int, Callable[[], Any]]] = [(30 if few else 8, self._register)]
        if known.patients:
            things += [
                (20, self._change),
                (6, self._care_team),
                (6, self._label),
                (8, self._consent),
                (2, self._break_glass),
                (3, self._invite),
                (2, self._add_machine),
                (12, self._read),
            ]
        if known.consents:
            things.append((4, self._withdraw))
        weights = [weight for weight, _ in things]
        (chosen,) = self.chance.choices([thing for _, thing in things], weights)
        await chosen()

    def _intent(self) -> str:
        self._count += 1
        return f"{self.name}-{self._count:05}"

    def _patient(self) -> str:
        # The newest are asked for most, so that clients meet.
        newest = self.known.patients[-20:]
        return self.chance.choice(newest if self.chance.random() < 0.7 else self.known.patients)

    async def _register(self) -> None:
        intent = self._intent()
        body = {
            "names": [{"family": FAMILY, "given": [f"Tlalli{self._count}"], "use": "official"}],
            "born": "1985-12-10",
            "gender": "female",
            "telecoms": [{"system": "email", "value": f"{intent}{MAIL}"}],
            "care_team": list(self.plan.practitioners[:1]),
        }
        if self.chance.random() < 0.5:
            body["identifiers"] = [{"kind": "mrn", "value": f"SOAK-{intent}"}]
        attempt = await self._persistently(intent, Kind.REGISTER, "/patients", body)
        if attempt.end is End.OK:
            self.known.patients.append(attempt.record)

    async def _change(self) -> None:
        if seen := await self._view(patient := self._patient()):
            intent = self._intent()
            body = {"telecoms": [{"system": "email", "value": f"{intent}{MAIL}"}]}
            await self._write("PATCH", Kind.CHANGE, f"/patients/{patient}", body, "desk", (intent, patient, seen[0]))

    async def _care_team(self) -> None:
        if seen := await self._view(patient := self._patient()):
            team = self.plan.practitioners[: 1 if len(seen[1]["care_team"]) > 1 else 2]
            path, body = f"/patients/{patient}/care-team", {"practitioners": list(team)}
            await self._write("PUT", Kind.CARE_TEAM, path, body, "clinician", (self._intent(), patient, seen[0]))

    async def _label(self) -> None:
        if seen := await self._view(patient := self._patient()):
            label = "restricted" if seen[1]["label"] == "normal" else "normal"
            target = (self._intent(), patient, seen[0])
            await self._write("PUT", Kind.LABEL, f"/patients/{patient}/label", {"label": label}, "clinician", target)

    async def _consent(self) -> None:
        patient, intent = self._patient(), self._intent()
        body = {
            "labels": ["part2"],
            "purposes": ["treatment"],
            "from_whom": intent,
            "to_whom": "My treating providers",
            "what": "Records of my treatment",
            "since": datetime.now(UTC).isoformat(),
            "ends_with": "none",
            "signed_by": "the patient",
            "signed_on": date(2026, 1, 2).isoformat(),
            "document": "Form P2-1",
        }
        attempt = await self._persistently(intent, Kind.CONSENT, f"/patients/{patient}/consents", body)
        if attempt.end is End.OK:
            self.known.consents.append((patient, attempt.record))

    async def _withdraw(self) -> None:
        patient, consent = self.known.consents.pop(self.chance.randrange(len(self.known.consents)))
        intent = withdrawing(consent)
        path = f"/patients/{patient}/consents/{consent}/withdraw"
        attempt = await self._write("POST", Kind.WITHDRAW, path, None, "clinician", (intent, consent, 0))
        if attempt.end is not End.OK:
            self.known.consents.append((patient, consent))

    async def _break_glass(self) -> None:
        intent = self._intent()
        await self._persistently(
            intent, Kind.BREAK_GLASS, "/break-glass", {"patient": self._patient(), "reason": intent}
        )

    async def _invite(self) -> None:
        intent = self._intent()
        body = {"email": f"{intent}{MAIL}", "name": FAMILY, "role": "researcher"}
        await self._persistently(intent, Kind.INVITE, "/accounts", body)

    async def _add_machine(self) -> None:
        intent = self._intent()
        body = {"email": f"{intent}{MAIL}", "name": FAMILY, "role": "researcher"}
        await self._persistently(intent, Kind.MACHINE, "/accounts/machines", body)

    async def _read(self) -> None:
        patient = self._patient()
        kind = self.chance.choice((Kind.VIEW, Kind.HISTORY, Kind.LIST, Kind.CONSENTS))
        if kind is Kind.VIEW:
            await self._view(patient)
            return
        paths = {
            Kind.HISTORY: f"/patients/{patient}/history",
            Kind.CONSENTS: f"/patients/{patient}/consents",
            Kind.LIST: "/patients?limit=5",
        }
        attempt = self.historian.invoke(self._intent(), kind, subject=patient)
        answer = await self._ask("GET", paths[kind], "clinician")
        shown: tuple[str, ...] = ()
        if isinstance(answer, Response) and answer.is_success:
            listed = kind is Kind.LIST
            shown = tuple(item["id"] for item in answer.json()["items"]) if listed else (patient,)
        self._end(attempt, answer, shown=shown)

    async def _view(self, patient: str) -> tuple[int, Any] | None:
        attempt = self.historian.invoke(self._intent(), Kind.VIEW, subject=patient)
        answer = await self._ask("GET", f"/patients/{patient}", "clinician")
        if not isinstance(answer, Response) or not answer.is_success:
            self._end(attempt, answer)
            return None
        self._end(attempt, answer, shown=(patient,))
        return _version(answer), answer.json()

    async def _write(
        self, method: str, kind: Kind, path: str, body: Any, role: str, target: tuple[str, str, int]
    ) -> Attempt:
        """Change something once; what is not known of it stays so."""
        intent, subject, seen = target
        attempt = self.historian.invoke(intent, kind, subject=subject, seen=seen)
        headers = {"If-Match": f'"{seen}"'} if seen else {}
        answer = await self._ask(method, path, role, body, headers)
        # What was changed is at a version now; of a consent that was withdrawn, the register is, which is another's.
        version = _version(answer) if kind is not Kind.WITHDRAW else 0
        return self._end(attempt, answer, record=subject, version=version)

    async def _persistently(self, intent: str, kind: Kind, path: str, body: Any) -> Attempt:
        """Make something; with a key, ask again until it is known how that ended, or give up and remember it."""
        keyed = self.chance.random() < _KEYED
        attempt = await self._make(intent, kind, path, body, keyed=keyed)
        if not keyed or self.chance.random() > _PERSISTENT:
            return attempt
        for _ in range(6):
            if not _may_help(attempt):
                return attempt
            await asyncio.sleep(self.chance.uniform(0.1, 0.6))
            attempt = await self._make(intent, kind, path, body, keyed=True)
        if _may_help(attempt):
            self.known.unresolved.append((intent, kind, path, body))
        elif self.chance.random() < 0.05:
            await self._make(intent, kind, path, body, keyed=True)
        return attempt

    async def _make(self, intent: str, kind: Kind, path: str, body: Any, *, keyed: bool) -> Attempt:
        role = {Kind.REGISTER: "desk", Kind.CONSENT: "clinician", Kind.BREAK_GLASS: f"glass-{self.name}"}
        attempt = self.historian.invoke(intent, kind, keyed=keyed)
        headers = {"Idempotency-Key": f"key-{intent}"} if keyed else {}
        answer = await self._ask("POST", path, role.get(kind, "administrator"), body, headers)
        record = answer.json()["id"] if isinstance(answer, Response) and answer.is_success else ""
        return self._end(attempt, answer, record=record)

    async def _ask(
        self, method: str, path: str, role: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Response | End:
        """Return the answer; without one, whether that is a failure, since nothing was sent, or nobody knows."""
        address = self.chance.choice(self.plan.addresses)
        authorised = {"Authorization": f"Bearer {self.plan.tokens[role]}", **(headers or {})}
        if method == "PATCH":
            authorised["Content-Type"] = "application/merge-patch+json"
        try:
            return await self.http.request(method, f"{address}/api/v1{path}", json=body, headers=authorised)
        except (ConnectError, ConnectTimeout):
            await asyncio.sleep(_NOBODY_THERE_SECONDS)
            return End.FAIL
        except HTTPError:
            return End.UNKNOWN

    def _end(self, attempt: Attempt, answer: Response | End, **told: Any) -> Attempt:
        """Write down how an attempt ended."""
        if isinstance(answer, End):
            return self.historian.complete(attempt, answer)
        common = {"status": answer.status_code, "request": answer.headers.get("X-Request-Id", "")}
        if answer.is_success:
            return self.historian.complete(attempt, End.OK, **common, **told)
        code = answer.json().get("type", "").rpartition(":")[2]
        known = answer.is_client_error or (
            answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE and code not in _SAY_NOTHING
        )
        return self.historian.complete(attempt, End.FAIL if known else End.UNKNOWN, code=code, **common)


def _version(answer: Response | End) -> int:
    return 0 if isinstance(answer, End) or "ETag" not in answer.headers else int(answer.headers["ETag"].strip('"'))


def _may_help(attempt: Attempt) -> bool:
    """Tell whether asking again may help: nobody knows, nothing was sent, or it could not be served."""
    return attempt.end is End.UNKNOWN or attempt.status in {0, HTTPStatus.SERVICE_UNAVAILABLE}


async def _run(plan: Plan) -> None:
    known, historian = Known(), Historian(Path(plan.history))
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, _stop_at_end, stopping)
    limits = Limits(max_connections=plan.clients, max_keepalive_connections=plan.clients)
    async with AsyncClient(timeout=Timeout(_SECONDS), limits=limits, trust_env=False) as http:
        clients = [
            Client(f"c{number}", plan, known, historian, http, random.Random(f"{plan.seed}-{number}"))
            for number in range(plan.clients)
        ]
        await asyncio.gather(*(client.go_on(stopping) for client in clients))
        await asyncio.gather(*(client.settle() for client in clients))
    historian.close()


def _stop_at_end(stopping: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin)
        stopping.set()


if __name__ == "__main__":
    asyncio.run(_run(Plan.read(Path(sys.argv[1]))))
