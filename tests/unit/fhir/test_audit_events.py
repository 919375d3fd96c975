"""Events as AuditEvents: valid FHIR all of them, and what names a profile of BALP has what that profile asks for."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from fhir.resources.R4B.auditevent import AuditEvent as FhirAuditEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from clarity.domain.access import ANONYMOUS, Action, Purpose, Reason, Role
from clarity.domain.audit import AuditEvent, Outcome
from clarity.domain.ids import EventId
from clarity.domain.records import Resource
from clarity.domain.trail import TrailEntry, TrailLine, TrailPlace
from clarity.fhir.audit_events import PATTERNS, PROFILES, FhirTrail
from tests.unit.audit.events import FIELDS, an_event

TRAIL = FhirTrail("Harbor Psychiatry")

# Of each profile of BALP 1.1.3: the action, the interactions, and the types of the client, the server and the user.
_PROFILES = {
    "Read": ("R", {"read", "vread"}, "110152", "110153", "IRCP"),
    "Query": ("E", {"search"}, "110153", "110152", "IRCP"),
    "Create": ("C", {"create"}, "110153", "110152", "AUT"),
    "Update": ("U", {"update"}, "110153", "110152", "AUT"),
    "Delete": ("D", {"delete"}, "110150", "custodian", "AUT"),
}


def lines_of(event: AuditEvent, *, name: str = "Grace Hopper", verified: bool = True) -> list[Any]:
    """Return the AuditEvents of an event, each checked as FHIR."""
    entry = TrailEntry(place=TrailPlace(event.at, event.id), event=event, verified=verified)
    return written(TrailLine(entry=entry, name=name, email="grace@example.org"))


def written(line: TrailLine) -> list[Any]:
    found = [json.loads(one) for one in TRAIL.written([line]).splitlines()]
    for one in found:
        FhirAuditEvent.model_validate(one)
    return found


def is_as_its_profile_says(one: dict[str, Any]) -> str:
    """Check what BALP asks for beyond FHIR, and return the name of the profile, "" for none."""
    (profile,) = one.get("meta", {}).get("profile", [""])
    if not profile:
        return ""
    name = str(profile).removeprefix(PROFILES)
    action, interactions, client, server, user = _PROFILES[name.removeprefix("Patient")]
    assert (one["type"]["code"], one["action"], one["outcome"]) == ("rest", action, "0")
    assert interactions & {subtype["code"] for subtype in one["subtype"]}
    agents = Counter(agent["type"]["coding"][0]["code"] for agent in one["agent"])
    assert (agents[client], agents[server]) == (1, 1)
    assert agents.keys() <= {client, server, user}
    for agent in one["agent"]:
        is_user = agent["type"]["coding"][0]["code"] == user
        assert agent["who"]
        assert ("network" in agent, agent["requestor"] or not agents[user]) == (
            not is_user,
            is_user or not agents[user],
        )
    entities = Counter(entity["type"]["code"] for entity in one["entity"])
    assert (entities["XrequestId"], entities["2"], entities["1"]) == (1, 1, int(name.startswith("Patient")))
    for entity in one["entity"]:
        role = entity.get("role", {}).get("code")
        if entity["type"]["code"] == "1":
            assert (role, entity["what"]["reference"].partition("/")[0]) == ("1", "Patient")
        elif entity["type"]["code"] == "2":
            assert (role, "what" in entity, "_query" in entity) == (
                ("24", False, True) if name.endswith("Query") else ("4", True, False)
            )
    if name.endswith("Delete"):
        assert len(one["subtype"]) == 1
    return name


def test_every_action_on_everything_is_an_audit_event() -> None:
    assert PATTERNS.keys() == set(Action)
    for action, resource, outcome in product(Action, Resource, Outcome):
        reason = Reason.NONE if outcome is Outcome.SUCCEEDED else Reason.NO_TIE
        event = replace(an_event(), action=action, resource=resource, outcome=outcome, reason=reason)
        (one,) = lines_of(event)
        profile = is_as_its_profile_says(one)
        assert not profile or outcome is Outcome.SUCCEEDED
        assert one["outcome"] == {1: "0", 2: "4", 3: "8", 4: "8"}[outcome]
        assert ("outcomeDesc" in one) == (outcome is not Outcome.SUCCEEDED)


# The first event of all loads the shapes that it is held against.
@settings(max_examples=25, deadline=None)
@given(st.builds(AuditEvent, **FIELDS))
def test_every_event_there_can_be_is_valid(event: AuditEvent) -> None:
    for one in lines_of(event):
        is_as_its_profile_says(one)


@pytest.mark.parametrize(
    ("action", "profile"),
    [
        (Action.VIEW, "PatientRead"),
        (Action.VIEW_HISTORY, "PatientRead"),
        (Action.LIST, "PatientQuery"),
        (Action.REGISTER, "PatientCreate"),
        (Action.CHANGE, "PatientUpdate"),
        (Action.DELETE, "PatientDelete"),
        (Action.LOG_IN, ""),
        (Action.BREAK_GLASS, ""),
        (Action.EXPORT, ""),
    ],
)
def test_what_succeeded_names_the_profile_of_its_action(action: Action, profile: str) -> None:
    (one,) = lines_of(replace(an_event(), action=action))
    assert is_as_its_profile_says(one) == profile
    (of_nobody,) = lines_of(replace(an_event(), action=action, resource=Resource.ACCOUNT, patient=None))
    assert is_as_its_profile_says(of_nobody) == profile.removeprefix("Patient")


def test_a_list_is_one_audit_event_for_each_patient() -> None:
    patients = tuple(UUID(int=number) for number in (1, 2, 3))
    event = replace(an_event(), action=Action.LIST, patient=None, ids=patients, ids_count=3, query_mac=bytes(32))
    found = lines_of(event)
    assert [is_as_its_profile_says(one) for one in found] == ["PatientQuery"] * 3
    assert len({one["id"] for one in found}) == 3
    assert [
        entity["what"]["reference"] for one in found for entity in one["entity"] if entity["type"]["code"] == "1"
    ] == [f"Patient/{patient}" for patient in patients]
    (nobody,) = lines_of(replace(event, ids=(), ids_count=0))
    assert is_as_its_profile_says(nobody) == "Query"


def test_who_what_why_and_when_are_told() -> None:
    event = replace(an_event(), purpose=Purpose.EMERGENCY, action=Action.CHANGE, version=3, role=Role.NURSE)
    (one,) = lines_of(event)
    assert datetime.fromisoformat(one["recorded"]) == event.at
    assert one["purposeOfEvent"][0]["coding"][0]["code"] == "ETREAT"
    user = one["agent"][0]
    assert (user["who"]["identifier"]["value"], user["who"]["display"]) == (f"urn:uuid:{event.actor}", "Grace Hopper")
    assert (user["role"][0]["coding"][0]["code"], user["requestor"]) == ("nurse", True)
    references = {entity["what"].get("reference") for entity in one["entity"]}
    assert {f"Patient/{event.patient}", f"Patient/{event.patient}/_history/3"} <= references
    assert str(event.request) in json.dumps(one["entity"])
    assert one["source"]["observer"]["display"] == "Harbor Psychiatry"


def test_whoever_is_not_logged_in_is_no_user_and_the_client_asks() -> None:
    (one,) = lines_of(replace(an_event(), actor=ANONYMOUS, role=Role.NOBODY, action=Action.LOG_IN), name="")
    assert [agent["requestor"] for agent in one["agent"]] == [True, False]


def test_what_is_not_as_written_is_said_to_be_unreliable() -> None:
    (one,) = lines_of(an_event(), verified=False)
    assert one["meta"]["security"][0]["code"] == "UNRELIABLE"
    place = TrailPlace(datetime(2026, 3, 14, tzinfo=UTC), EventId(UUID(int=7)))
    (gone,) = written(TrailLine(entry=TrailEntry(place=place, event=None, verified=False)))
    assert (gone["id"], gone["outcome"], gone["meta"]["security"][0]["code"]) == (str(UUID(int=7)), "12", "UNRELIABLE")
    (whole,) = lines_of(an_event())
    assert "security" not in whole["meta"]
