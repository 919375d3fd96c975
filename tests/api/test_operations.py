"""Every operation of the API for every role: who gets in is what the policy says, and a new route needs a line here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from httpx import AsyncClient, Response
from sqlalchemy import update

from clarity.domain.access import Action, Relation, Role
from clarity.domain.records import Label, Resource
from clarity.persistence.accounts import AccountRow
from tests.api.clinic import Clinic, seen, told
from tests.api.house import ROLES, Caller, House
from tests.builders import new_id
from tests.fakes.accounts import PASSWORD
from tests.policy_table import decided_cells

STALE = 7
"""A version at which no record here is: whoever may change one is told so by 412."""

_OF_PATIENTS = {
    Resource.PATIENT,
    Resource.CONSENT,
    Resource.DISCLOSURE,
    Resource.APPOINTMENT,
    Resource.NOTE,
    Resource.PRESCRIPTION,
    Resource.INTERACTION,
}
_ANYBODY = frozenset({Relation.ANYBODY})
_OWN = frozenset({Relation.SELF})
_ANYBODYS_OR_MADE = frozenset({Relation.ANYBODY, Relation.AUTHOR})


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation: the right it needs, and how it is answered with that right and without.

    `held` is how the caller stands to what it is about; for a patient in the path, or in the answer, that depends on
    who calls. What is sent is the example of the documentation, unless there is a `body`. `alone` operations end
    sessions, so each caller logs in anew for them.
    """

    resource: Resource
    action: Action
    allowed: int
    refused: int = 403
    held: frozenset[Relation] = _ANYBODY
    body: Mapping[str, Any] | None = None
    version: int = 0
    alone: bool = False
    ids: Mapping[str, str] = field(default_factory=dict)

    def is_for(self, caller: Caller, house: House) -> bool:
        """Tell whether the policy that was decided on lets the caller do it."""
        held = self.held
        if self.resource in _OF_PATIENTS and held == _ANYBODY:
            held = house.normal_patient_of(caller).held_by(caller.account)
        return any(
            (caller.account.role, self.resource, self.action, relation, Label.NORMAL) in decided_cells()
            for relation in held
        )


def own(resource: Resource, action: Action, allowed: int, **more: Any) -> Operation:
    """Return an operation on what is the caller's own."""
    return Operation(resource=resource, action=action, allowed=allowed, held=_OWN, **more)


def of(resource: Resource, action: Action, allowed: int, **more: Any) -> Operation:
    """Return an operation on what may be anybody's."""
    return Operation(resource=resource, action=action, allowed=allowed, **more)


def on_patient(action: Action, allowed: int, resource: Resource = Resource.PATIENT, **more: Any) -> Operation:
    """Return an operation on one patient: whoever may not is told that there is none."""
    return Operation(resource=resource, action=action, allowed=allowed, refused=404, **more)


# Nobody here has written the note that the examples name.
OF_AUTHORS = {"edit_note", "sign_note", "delete_note"}
_WRONG_PASSWORD = {"current": "not the one it is", "new": "nine lanterns over the harbour"}

OPEN = {
    "log_in": 201,
    "refresh_session": 401,
    "request_password_reset": 202,
    "complete_password_reset": 401,
    "complete_invitation": 401,
    "is_alive": 200,
    "is_ready": 200,
    "show_metrics": 404,
}
"""Operations without a log-in, and how they are answered; the tokens of the examples are good for nothing."""

OPERATIONS = {
    "log_out": own(Resource.ACCOUNT, Action.LOG_OUT, 204, alone=True),
    "view_own_account": own(Resource.ACCOUNT, Action.VIEW, 200),
    "view_second_factor": own(Resource.ACCOUNT, Action.VIEW, 200),
    "enrol_second_factor": own(Resource.ACCOUNT, Action.ENROL_SECOND_FACTOR, 201, body={"password": PASSWORD}),
    "confirm_second_factor": own(Resource.ACCOUNT, Action.ENROL_SECOND_FACTOR, 422),
    "renew_recovery_codes": own(Resource.ACCOUNT, Action.ENROL_SECOND_FACTOR, 409),
    "remove_second_factor": own(Resource.ACCOUNT, Action.REMOVE_SECOND_FACTOR, 409),
    "list_own_sessions": own(Resource.SESSION, Action.LIST, 200),
    "end_other_sessions": own(Resource.SESSION, Action.REVOKE, 204),
    "end_own_session": own(Resource.SESSION, Action.REVOKE, 404),
    "remove_second_factor_of_account": of(Resource.ACCOUNT, Action.REMOVE_SECOND_FACTOR, 404),
    "list_sessions_of_account": of(Resource.SESSION, Action.LIST, 404),
    "end_sessions_of_account": of(Resource.SESSION, Action.REVOKE, 404),
    "change_password": own(Resource.ACCOUNT, Action.CHANGE_PASSWORD, 422, body=_WRONG_PASSWORD),
    # The examples name a practitioner who is not known here.
    "invite": of(Resource.ACCOUNT, Action.REGISTER, 422),
    "add_machine": of(Resource.ACCOUNT, Action.REGISTER, 422),
    "list_accounts": of(Resource.ACCOUNT, Action.LIST, 200),
    "view_account": of(Resource.ACCOUNT, Action.VIEW, 404),
    "disable_account": of(Resource.ACCOUNT, Action.CHANGE_STATUS, 404),
    "enable_account": of(Resource.ACCOUNT, Action.CHANGE_STATUS, 404),
    "change_role": of(Resource.ACCOUNT, Action.CHANGE_ROLE, 404),
    "send_password_reset": of(Resource.ACCOUNT, Action.RESET_PASSWORD, 404),
    "register_patient": of(Resource.PATIENT, Action.REGISTER, 201, held=frozenset({Relation.ANYBODY, Relation.SELF})),
    "list_patients": of(Resource.PATIENT, Action.LIST, 200, refused=200),
    "search_patients": of(Resource.PATIENT, Action.SEARCH, 200, refused=200, body={}),
    "find_similar_patients": of(Resource.PATIENT, Action.SEARCH, 200, refused=200, body={"name": "zz"}),
    "view_patient": on_patient(Action.VIEW, 200),
    "replace_patient": on_patient(Action.CHANGE, 412, version=STALE),
    "change_patient": on_patient(Action.CHANGE, 412, version=STALE),
    "relabel_patient": on_patient(Action.CHANGE, 412, version=STALE),
    "change_care_team": on_patient(Action.CHANGE_CARE_TEAM, 412, version=STALE),
    "view_patient_history": on_patient(Action.VIEW_HISTORY, 200),
    "discharge_patient": on_patient(Action.DISCHARGE, 412, version=STALE),
    "reactivate_patient": on_patient(Action.REACTIVATE, 412, version=STALE),
    "record_death": on_patient(Action.RECORD_DEATH, 412, version=STALE, body={}),
    "correct_death": on_patient(Action.RECORD_DEATH, 412, version=STALE),
    "place_legal_hold": on_patient(Action.CHANGE_LEGAL_HOLD, 409),
    "delete_patient": on_patient(Action.DELETE, 409),
    "release_legal_hold": on_patient(Action.CHANGE_LEGAL_HOLD, 204),
    "view_tombstone": on_patient(Action.VIEW_TOMBSTONE, 404),
    "list_legal_holds": of(Resource.PATIENT, Action.LIST_LEGAL_HOLDS, 200),
    "list_consents": on_patient(Action.LIST, 200, Resource.CONSENT),
    "record_consent": on_patient(Action.REGISTER, 201, Resource.CONSENT),
    "withdraw_consent": on_patient(Action.WITHDRAW, 404, Resource.CONSENT),
    "list_disclosures": on_patient(Action.LIST, 200, Resource.DISCLOSURE),
    "record_disclosure": on_patient(Action.REGISTER, 201, Resource.DISCLOSURE),
    "correct_disclosure": on_patient(Action.CHANGE, 404, Resource.DISCLOSURE, version=STALE),
    "mark_disclosure_mistaken": on_patient(Action.CHANGE, 404, Resource.DISCLOSURE, version=STALE),
    "suspend_disclosure": on_patient(Action.CHANGE, 404, Resource.DISCLOSURE, version=STALE),
    "account_for_disclosures": on_patient(Action.ACCOUNT_FOR, 200, Resource.DISCLOSURE),
    "list_prescriptions": on_patient(Action.LIST, 200, Resource.PRESCRIPTION),
    "prescribe": on_patient(Action.REGISTER, 201, Resource.PRESCRIPTION),
    "view_prescription": on_patient(Action.VIEW, 404, Resource.PRESCRIPTION),
    "change_prescription": on_patient(Action.CHANGE, 404, Resource.PRESCRIPTION, version=STALE),
    "hold_prescription": on_patient(Action.CHANGE, 404, Resource.PRESCRIPTION, version=STALE),
    "resume_prescription": on_patient(Action.CHANGE, 404, Resource.PRESCRIPTION, version=STALE),
    "stop_prescription": on_patient(Action.STOP, 404, Resource.PRESCRIPTION, version=STALE),
    "mark_prescription_mistaken": on_patient(Action.CHANGE, 404, Resource.PRESCRIPTION, version=STALE),
    "view_prescription_history": on_patient(Action.VIEW_HISTORY, 404, Resource.PRESCRIPTION),
    "view_adherence": on_patient(Action.VIEW, 404, Resource.PRESCRIPTION),
    "list_interactions": on_patient(Action.LIST, 200, Resource.INTERACTION),
    "record_interaction": on_patient(Action.REGISTER, 201, Resource.INTERACTION),
    "view_interaction": on_patient(Action.VIEW, 404, Resource.INTERACTION),
    "search_chart": on_patient(Action.SEARCH, 200, Resource.NOTE),
    "list_notes": on_patient(Action.LIST, 200, Resource.NOTE),
    "draft_note": on_patient(Action.REGISTER, 201, Resource.NOTE),
    "view_note": on_patient(Action.VIEW, 404, Resource.NOTE),
    "edit_note": on_patient(Action.CHANGE, 404, Resource.NOTE, version=STALE),
    "delete_note": on_patient(Action.DELETE, 404, Resource.NOTE, version=STALE),
    "sign_note": on_patient(Action.SIGN, 404, Resource.NOTE, version=STALE),
    "cosign_note": on_patient(Action.COSIGN, 404, Resource.NOTE, version=STALE),
    "view_note_history": on_patient(Action.VIEW_HISTORY, 404, Resource.NOTE),
    "request_amendment": on_patient(Action.REQUEST_AMENDMENT, 404, Resource.NOTE, version=STALE),
    "extend_amendment": on_patient(Action.DECIDE_AMENDMENT, 404, Resource.NOTE, version=STALE),
    "accept_amendment": on_patient(Action.DECIDE_AMENDMENT, 404, Resource.NOTE, version=STALE),
    "deny_amendment": on_patient(Action.DECIDE_AMENDMENT, 404, Resource.NOTE, version=STALE),
    "disagree_with_denial": on_patient(Action.REQUEST_AMENDMENT, 404, Resource.NOTE, version=STALE),
    "rebut_disagreement": on_patient(Action.DECIDE_AMENDMENT, 404, Resource.NOTE, version=STALE),
    "list_open_amendments": of(Resource.NOTE, Action.DECIDE_AMENDMENT, 200),
    "list_note_templates": own(Resource.ACCOUNT, Action.VIEW, 200),
    "list_unaccounted_exports": of(Resource.DISCLOSURE, Action.REVIEW, 200),
    "list_unfounded_disclosures": of(Resource.DISCLOSURE, Action.REVIEW, 200),
    "explain_export": of(Resource.DISCLOSURE, Action.REVIEW, 404),
    "break_glass": of(Resource.PATIENT, Action.BREAK_GLASS, 404),
    "report_unusual_access": of(Resource.AUDIT_EVENT, Action.REPORT, 200),
    "list_broken_glass": of(Resource.BREAK_GLASS, Action.LIST, 200, held=_ANYBODYS_OR_MADE),
    "view_broken_glass": of(Resource.BREAK_GLASS, Action.VIEW, 404, refused=404, held=_ANYBODYS_OR_MADE),
    "close_broken_glass": of(Resource.BREAK_GLASS, Action.REVOKE, 404, refused=404, held=_ANYBODYS_OR_MADE),
    "review_broken_glass": of(Resource.BREAK_GLASS, Action.REVIEW, 404, refused=404, held=_ANYBODYS_OR_MADE),
    "list_audit_events": of(Resource.AUDIT_EVENT, Action.LIST, 200),
    "export_audit_events": of(Resource.AUDIT_EVENT, Action.EXPORT, 200),
    "list_duplicates": of(Resource.DUPLICATE, Action.LIST, 200, refused=200),
    "view_duplicate": of(Resource.DUPLICATE, Action.VIEW, 404, refused=404),
    "decide_distinct": of(Resource.DUPLICATE, Action.REVIEW, 404, refused=404, version=STALE),
    "merge_duplicate": of(Resource.DUPLICATE, Action.REVIEW, 404, refused=404, version=STALE),
    "unmerge_duplicate": of(Resource.DUPLICATE, Action.REVIEW, 404, refused=404, version=STALE),
    "issue_credential": of(Resource.CREDENTIAL, Action.REGISTER, 404),
    "list_credentials": of(Resource.CREDENTIAL, Action.LIST, 404),
    "revoke_credential": of(Resource.CREDENTIAL, Action.REVOKE, 404),
    "list_research_subjects": of(Resource.RESEARCH_SUBJECT, Action.LIST, 200),
    "register_practitioner": of(Resource.PRACTITIONER, Action.REGISTER, 201),
    "list_practitioners": of(Resource.PRACTITIONER, Action.LIST, 200),
    "search_practitioners": of(Resource.PRACTITIONER, Action.LIST, 200),
    "list_appointments": on_patient(Action.LIST, 200, Resource.APPOINTMENT),
    "book_appointment": on_patient(Action.REGISTER, 422, Resource.APPOINTMENT),
    "book_series": on_patient(Action.REGISTER, 422, Resource.APPOINTMENT),
    "view_appointment": on_patient(Action.VIEW, 404, Resource.APPOINTMENT),
    "change_appointment": on_patient(Action.CHANGE, 404, Resource.APPOINTMENT, version=STALE),
    "move_appointment": on_patient(Action.CHANGE, 404, Resource.APPOINTMENT, version=STALE),
    "cancel_appointment": on_patient(Action.CANCEL, 404, Resource.APPOINTMENT, version=STALE),
    "complete_appointment": on_patient(Action.COMPLETE, 404, Resource.APPOINTMENT, version=STALE),
    "mark_no_show": on_patient(Action.COMPLETE, 404, Resource.APPOINTMENT, version=STALE),
    "view_appointment_history": on_patient(Action.VIEW_HISTORY, 404, Resource.APPOINTMENT),
    "view_day": of(Resource.APPOINTMENT, Action.LIST, 200),
    "find_free_slots": of(Resource.SCHEDULE, Action.VIEW, 200),
    "feed_calendar": of(Resource.SCHEDULE, Action.LIST, 200),
    "list_closures": of(Resource.SCHEDULE, Action.VIEW, 200),
    "close_days": of(Resource.SCHEDULE, Action.CHANGE, 201),
    "reopen_days": of(Resource.SCHEDULE, Action.CHANGE, 404),
    "view_practitioner": of(Resource.PRACTITIONER, Action.VIEW, 200),
    "replace_practitioner": of(Resource.PRACTITIONER, Action.CHANGE, 412, version=STALE),
    "list_patients_of_practitioner": of(Resource.PRACTITIONER, Action.VIEW, 200),
    "view_caseload": of(Resource.PRACTITIONER, Action.VIEW, 200),
}


@dataclass(frozen=True, slots=True)
class Documented:
    """An operation as the documentation has it."""

    name: str
    method: str
    path: str
    example: Any = None
    media_type: str = "application/json"

    async def by(self, http: AsyncClient, ids: Mapping[str, object], operation: Operation | None) -> Response:
        """Ask for it."""
        path = self.path.removeprefix("/api/v1").format_map(_Unknown(ids))
        if not self.path.startswith("/api/v1"):
            path = f"http://clinic.test{self.path}"
        headers = {"Content-Type": self.media_type}
        body = self.example
        if operation is not None:
            headers |= seen(operation.version) if operation.version else {}
            body = operation.body if operation.body is not None else body
        return await http.request(
            self.method, path, headers=headers, content=None if body is None else json.dumps(dict(body))
        )


class _Unknown(dict[str, object]):
    """Ids of which there is nothing."""

    def __missing__(self, key: str) -> object:
        return new_id()


def documented(clinic: Clinic) -> list[Documented]:
    """Return every operation in the documentation."""
    document = clinic.app.openapi()
    found = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {})
            media_type, shape = next(iter(content.items()), ("application/json", {"schema": {}}))
            example = _example(document, shape["schema"]) if content else None
            found.append(Documented(operation["operationId"], method.upper(), path, example, media_type))
    return found


def _example(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    named = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return named.get("examples", [{}])[0]


async def test_every_operation_has_its_expectation(memory_clinic: Clinic) -> None:
    assert {one.name for one in documented(memory_clinic)} == OPERATIONS.keys() | OPEN.keys()


async def test_every_operation_lets_in_whom_the_policy_names_and_nobody_else(house: House) -> None:
    useless, unexpected = set(OPERATIONS), list[str]()
    for one in documented(house.clinic):
        if (operation := OPERATIONS.get(one.name)) is None:
            continue
        anonymous = await one.by(house.clinic.caller(), {}, operation)
        assert anonymous.status_code == 401, one.name
        for caller in map(house.caller, ROLES):
            http = await house.logged_in_anew(caller) if operation.alone else caller.http
            ids = {"patient_id": house.normal_patient_of(caller).id, "practitioner_id": house.stranger}
            answer = await one.by(http, ids, operation)
            allowed = operation.is_for(caller, house)
            expected = operation.allowed if allowed else operation.refused
            if answer.status_code != expected:
                unexpected.append(f"{one.name} {caller.account.role.title}: {answer.status_code} {answer.text[:200]}")
            if not allowed and operation.refused == 404:
                assert told(answer) == told(await one.by(http, {}, operation)), (one.name, caller.account.role)
            if allowed:
                useless.discard(one.name)
    assert "\n".join(unexpected) == ""
    assert useless == OF_AUTHORS


async def test_what_needs_no_log_in_is_answered_without(house: House) -> None:
    account = house.caller(Role.NURSE).account
    for one in documented(house.clinic):
        if one.name in OPEN:
            body = {"email": account.email, "password": PASSWORD} if one.name == "log_in" else one.example
            answer = await Documented(one.name, one.method, one.path, body).by(house.clinic.caller(), {}, None)
            assert answer.status_code == OPEN[one.name], one.name


async def test_an_account_that_was_made_the_system_in_the_table_is_nobody(house: House) -> None:
    caller = house.caller(Role.NURSE)
    database = house.clinic.practice.database
    assert database is not None
    async with database.turn(), database.writing() as session:
        made = update(AccountRow).where(AccountRow.id == caller.account.id).values(role=Role.SYSTEM)
        await session.execute(made)
        await session.commit()
    answer = await caller.http.get("/patients")
    assert answer.is_error
    assert "items" not in answer.json()
