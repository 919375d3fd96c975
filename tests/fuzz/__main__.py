"""Looks for what nobody thought of: requests nobody would send, and bytes nobody would write.

    python -m tests.fuzz [--minutes 5] [--cases N] [--only requests,oddities,properties,coverage] [--seed N] ...

`requests` asks a `clarity serve` of its own, on SQLite and on PostgreSQL, as somebody in each role, whatever can be
made from what the API says of itself (schemathesis). `oddities` writes on its sockets what is hardly HTTP.
`properties` are those of the test suite with many more examples, and what reads what others wrote, with texts made by
Hypothesis.
`coverage` changes bytes towards code that was not reached yet (Atheris).

Every answer must be documented, in form and in status, and be no 500; no problem and no line of the log may repeat what
was sent; whatever is shown, changed or refused has its event in the trail. What breaks that is printed, kept as a small
file in a folder, and tried again by `--again FILE`. The exit status is 1 if anything was found.
"""

import argparse
import json
import random
import secrets
import sys
import tempfile
import time
from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import schemathesis
from schemathesis.core.failures import Failure, FailureGroup

from tests.fuzz import coverage_guided, properties
from tests.fuzz.answers import CANARY, Exchange, faults_of, own_words_of
from tests.fuzz.findings import Findings
from tests.fuzz.oddities import Oddities
from tests.fuzz.practice import DATABASES, ROLES, FuzzedPractice, databases, fuzzed_practice
from tests.fuzz.requests import Session, kept, unaudited
from tests.fuzz.targets import TARGETS

_SHARES = {"requests": 0.6, "oddities": 0.05, "properties": 0.15, "coverage": 0.2}
# A session that goes on longer than this finds less than another with a new practice.
_LONGEST_SESSION = 60
# Reading what the API says of itself takes a part of that.
_SHORTEST_SESSION = 8
_ODDITIES_AT_A_TIME = 50


@dataclass(slots=True)
class Run:
    """One run: how long, how much, on what, as whom."""

    seconds: float
    cases: int
    seed: int
    findings: Findings
    databases: Sequence[str]
    roles: Sequence[str]
    targets: Sequence[str]
    _done: int = 0
    _chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        """Begin where the seed says."""
        self._chance = random.Random(self.seed)

    def requests(self, seconds: float) -> None:
        """Ask as each role on each database, again and again with a new practice, until the time is over."""
        until = time.monotonic() + seconds
        while True:
            for kind in self.databases:
                # The others of this round want their part of what is left.
                left = len(self.databases) - self.databases.index(kind)
                self._on_each_practice(kind, (until - time.monotonic()) / left, self._sessions)
            if time.monotonic() > until - 2 * _SHORTEST_SESSION or self._done >= self.cases:
                self._say_who_was_left_out()
                return

    def _say_who_was_left_out(self) -> None:
        for kind in self.databases:
            if absent := [role for role in self.roles if not self.findings.tried[f"requests as {role} on {kind}"]]:
                self.findings.skipped.append(f"for want of time, requests on {kind} as {', '.join(absent)}")

    def oddities(self, seconds: float) -> None:
        """Write odd requests, as each role on each database."""
        for kind in self.databases:
            self._on_each_practice(kind, seconds / len(self.databases), self._odd)

    def properties(self, seconds: float) -> None:
        """Try properties with made-up examples."""
        properties.fuzz(self.targets, seconds, self.seed, self.findings)

    def coverage(self, seconds: float) -> None:
        """Try the targets with bytes that are changed towards what was not reached."""
        names = [name for name in self.targets if TARGETS[name].for_atheris]
        coverage_guided.fuzz(names, seconds, self.seed, self.findings)

    def _on_each_practice(
        self, kind: str, seconds: float, use: Callable[[FuzzedPractice, dict[str, Any], float], None]
    ) -> None:
        with tempfile.TemporaryDirectory(prefix="clarity-fuzz-") as name, databases(kind, Path(name)) as new_url:
            with fuzzed_practice(kind, new_url(), Path(name) / "practice") as practice:
                document = httpx.get(f"{practice.address}/openapi.json", timeout=60).raise_for_status().json()
                use(practice, document, seconds)
                if practice.server.poll() is not None:
                    self.findings.add(f"the server on {kind} ended", practice.log.read_text()[-2_000:], {})
            self._judge_log(practice)

    def _sessions(self, practice: FuzzedPractice, document: dict[str, Any], seconds: float) -> None:
        share = int(min(_LONGEST_SESSION, max(_SHORTEST_SESSION, seconds / len(self.roles))))
        until = time.monotonic() + seconds
        sessions: list[Session] = []
        for role in self._chance.sample(self.roles, len(self.roles)):
            if self._done >= self.cases or (sessions and time.monotonic() > until):
                break
            seed = self._chance.getrandbits(32)
            session = Session(practice, role, document, self.findings, seed, share, self.cases - self._done)
            session.run()
            sessions.append(session)
            self._done += session.cases
            self.findings.tried[f"requests as {role} on {practice.database}"] += session.cases
            print(f"  {practice.database}, {role}: {session.cases:,} requests", flush=True)
        for fault, exchange in unaudited(practice, sessions):
            self.findings.add(fault, f"{fault}: {exchange.method} {exchange.url}", kept(exchange, practice))

    def _odd(self, practice: FuzzedPractice, document: dict[str, Any], seconds: float) -> None:
        oddities = Oddities(practice, document, self.findings, self._chance.getrandbits(32))
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            role = self._chance.choice(self.roles)
            practice.forget(role)
            for _ in range(_ODDITIES_AT_A_TIME):
                oddities.ask(role)
        print(f"  {practice.database}: {self.findings.tried[f'odd requests on {practice.database}']:,} odd requests")

    def _judge_log(self, practice: FuzzedPractice) -> None:
        log = practice.log.read_text(errors="replace")
        lines = [line for line in log.splitlines() if CANARY in line or "Traceback" in line]
        for line in lines[:1]:
            kind = "what was sent stands in the log" if CANARY in line else "the log has a traceback"
            self.findings.add(f"{kind} ({practice.database})", line[:500], {"line": line})


def _again(path: Path) -> int:
    """Try one kept case once more, and print what comes."""
    case = json.loads(path.read_text())
    print(f"{case['kind']}\n{case['told']}\n")
    if "target" in case:
        TARGETS[case["target"]].function(_bytes(case["input"]))
        print("It ends well now.")
        return 0
    if "role" not in case or "url" not in case:
        print("This was seen over a whole run, and has no request of its own.")
        return 1
    with (
        tempfile.TemporaryDirectory(prefix="clarity-fuzz-") as name,
        databases(case["database"], Path(name)) as new_url,
        fuzzed_practice(case["database"], new_url(), Path(name) / "practice") as practice,
    ):
        return _asked_again(case, practice)


def _asked_again(case: dict[str, Any], practice: FuzzedPractice) -> int:
    url = case["url"]
    for kind, ids in practice.known.items():
        for position, identity in enumerate(ids):
            url = url.replace(f"<{kind} {position}>", identity)
    body = _bytes(case["body"])
    with practice.client(case["role"]) as client:
        answer = client.request(
            case["method"], f"{practice.address}{url}", content=body, headers={**case["headers"], **client.headers}
        )
    document = httpx.get(f"{practice.address}/openapi.json", timeout=60).json()
    exchange = Exchange(
        operation=case["kind"].partition(" ")[0],
        role=case["role"],
        method=case["method"],
        url=f"{practice.address}{url}",
        sent=case["headers"],
        body=body,
        status=answer.status_code,
        headers=dict(answer.headers),
        content=answer.content,
    )
    print(f"{answer.status_code} {dict(answer.headers)}\n{answer.text}")
    faults = [*faults_of(exchange, own_words_of(document, ("Bearer",))), *_undocumented(case, document, answer)]
    print("\n".join(faults) or "Nothing is wrong with that.")
    return 1 if faults else 0


def _undocumented(case: dict[str, Any], document: dict[str, Any], answer: httpx.Response) -> list[str]:
    """Return how an answer differs from what the API says of itself."""
    operation = document["paths"].get(case["template"], {}).get(case["method"].lower())
    if operation is None:
        return []
    schema = schemathesis.openapi.from_dict(document)
    try:
        schema[case["template"]][case["method"]].validate_response(answer)
    except (Failure, FailureGroup) as exc:
        return [str(exc)]
    return []


def _bytes(kept_as: dict[str, str]) -> bytes:
    return b64decode(kept_as["base64"]) if "base64" in kept_as else kept_as["text"].encode()


def _chosen(text: str, known: Sequence[str], what: str) -> list[str]:
    chosen = [part.strip() for part in text.split(",") if part.strip()]
    if unknown := [part for part in chosen if part not in known]:
        raise argparse.ArgumentTypeError(f"there is no {what} {unknown[0]!r}; there is {', '.join(known)}")
    return chosen


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5.0, help="how long in all; 5 by default")
    parser.add_argument("--cases", type=int, default=10**9, help="at most so many requests made by schemathesis")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), help="begin where another run did")
    parser.add_argument(
        "--keep", type=Path, default=Path(".fuzz"), help="the folder for what is found; .fuzz by default"
    )
    parser.add_argument("--again", type=Path, metavar="FILE", help="try one kept case once more, and nothing else")
    for name, known, what in (
        ("only", tuple(_SHARES), "kind of fuzzing"),
        ("databases", DATABASES, "database"),
        ("roles", ROLES, "role"),
        ("targets", tuple(TARGETS), "target"),
    ):
        parser.add_argument(
            f"--{name}",
            type=partial(_chosen, known=known, what=what),
            default=list(known),
            help=f"some of {', '.join(known)}",
        )
    return parser


def main(arguments: Sequence[str]) -> int:
    """Fuzz and return the exit status."""
    chosen = _parser().parse_args(arguments)
    if chosen.again:
        return _again(chosen.again)
    findings = Findings(chosen.keep.resolve())
    run = Run(
        seconds=chosen.minutes * 60,
        cases=chosen.cases,
        seed=chosen.seed,
        findings=findings,
        databases=chosen.databases,
        roles=chosen.roles,
        targets=chosen.targets,
    )
    print(f"Fuzzing for about {chosen.minutes:g} minutes; the same again: --seed {chosen.seed}", flush=True)
    whole = sum(_SHARES[kind] for kind in chosen.only)
    try:
        for kind in chosen.only:
            seconds = run.seconds * _SHARES[kind] / whole
            print(f"{kind}, {seconds:.0f} s", flush=True)
            getattr(run, kind)(seconds)
    finally:
        # Whatever ends a run, Ctrl-C too, what it found until then is said.
        print(findings, flush=True)
    return 1 if findings.kinds else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
