"""What becomes of a request that comes again, since its answer was lost, for every operation (ADR 0032)."""

from typing import Any

import pytest

from clarity.api.app import create_app
from clarity.api.options import ApiOptions
from clarity.domain.access import Role
from tests.api.clinic import Clinic, code
from tests.builders import TODAY

KEYED = {
    "register_patient",
    "record_consent",
    "break_glass",
    "register_practitioner",
    "invite",
    "add_machine",
    "record_disclosure",
    "draft_note",
    "book_appointment",
    "book_series",
    "prescribe",
    "record_interaction",
}
"""They make something, and take an `Idempotency-Key`: the same request finds what the first one made."""

VERSIONED = {
    "replace_patient",
    "change_patient",
    "relabel_patient",
    "change_care_team",
    "discharge_patient",
    "reactivate_patient",
    "record_death",
    "correct_death",
    "replace_practitioner",
    "correct_disclosure",
    "mark_disclosure_mistaken",
    "suspend_disclosure",
    "change_appointment",
    "move_appointment",
    "cancel_appointment",
    "complete_appointment",
    "mark_no_show",
    "edit_note",
    "delete_note",
    "sign_note",
    "cosign_note",
    "request_amendment",
    "extend_amendment",
    "accept_amendment",
    "deny_amendment",
    "disagree_with_denial",
    "rebut_disagreement",
    "change_prescription",
    "hold_prescription",
    "resume_prescription",
    "stop_prescription",
    "mark_prescription_mistaken",
}
"""They name the version that they change in `If-Match`: once it has changed, the same request is stale (412)."""

VERSIONED_IN_BODY = {"decide_distinct", "merge_duplicate", "unmerge_duplicate"}
"""They name in the body which version of the review, or of the patients, they were decided on."""

SETTLING = {
    "log_out",
    "change_password",
    "complete_password_reset",
    "complete_invitation",
    "disable_account",
    "enable_account",
    "change_role",
    "confirm_second_factor",
    "remove_second_factor",
    "remove_second_factor_of_account",
    "end_other_sessions",
    "end_own_session",
    "end_sessions_of_account",
    "place_legal_hold",
    "release_legal_hold",
    "delete_patient",
    "withdraw_consent",
    "close_broken_glass",
    "review_broken_glass",
    "explain_export",
    "revoke_credential",
    "close_days",
    "reopen_days",
}
"""They bring something into a state. Once it is in it, the same request changes nothing, or is refused."""

SHOWN_ONCE = {"log_in", "refresh_session", "enrol_second_factor", "renew_recovery_codes", "issue_credential"}
"""They answer with a secret that is stored nowhere, so no key could find it again. Asking again makes another."""

LETTERS = {"request_password_reset", "send_password_reset"}
"""They send a letter. Asking again sends another, with a link of its own, as often as the rate limit allows."""

READING = {"search_patients", "find_similar_patients", "search_practitioners", "search_chart"}
"""They only read, and are POST because names do not belong in a URL."""

CLASSES = (KEYED, VERSIONED, VERSIONED_IN_BODY, SETTLING, SHOWN_ONCE, LETTERS, READING)


def unopened() -> Any:
    pytest.fail("describing the API opened it")


@pytest.fixture(scope="module")
def headers() -> dict[str, set[str]]:
    """Return which headers each operation takes that may change anything, by the document."""
    document = create_app(unopened, ApiOptions(today=lambda: TODAY)).openapi()
    return {
        operation["operationId"]: {one["name"] for one in operation.get("parameters", ()) if one["in"] == "header"}
        for operations in document["paths"].values()
        for method, operation in operations.items()
        if method not in {"get", "head", "options"}
    }


def test_every_operation_that_may_change_something_is_in_one_class(headers: dict[str, set[str]]) -> None:
    assert {name: sum(name in one for one in CLASSES) for name in headers} == dict.fromkeys(headers, 1)
    assert set().union(*CLASSES) == headers.keys()


def test_those_take_a_key_that_make_something(headers: dict[str, set[str]]) -> None:
    assert {name for name, taken in headers.items() if "Idempotency-Key" in taken} == KEYED


def test_those_name_a_version_that_change_one(headers: dict[str, set[str]]) -> None:
    assert {name for name, taken in headers.items() if "If-Match" in taken} == VERSIONED


@pytest.mark.parametrize("path", ["/accounts", "/accounts/machines"])
async def test_an_account_that_is_asked_for_again_is_shown_and_not_made(memory_clinic: Clinic, path: str) -> None:
    administrator = await memory_clinic.logged_in(Role.ADMINISTRATOR)
    body = {"email": "ada@example.org", "name": "Ada", "role": "researcher"}
    first = await administrator.post(path, json=body, headers={"Idempotency-Key": "k1"})
    again = await administrator.post(path, json=body, headers={"Idempotency-Key": "k1"})
    assert (again.status_code, again.json(), again.headers["Location"]) == (
        first.status_code,
        first.json(),
        first.headers["Location"],
    )
    other = await administrator.post(path, json={**body, "name": "Bob"}, headers={"Idempotency-Key": "k1"})
    assert (other.status_code, code(other)) == (409, "reused-idempotency-key")
    elsewhere = {"/accounts": "/accounts/machines", "/accounts/machines": "/accounts"}[path]
    assert code(await administrator.post(elsewhere, json=body, headers={"Idempotency-Key": "k1"})) == (
        "reused-idempotency-key"
    )
    assert code(await administrator.post(path, json=body)) == "duplicate-email"
