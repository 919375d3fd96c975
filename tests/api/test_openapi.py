"""What the API says about itself is true."""

import json
from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

import pytest
from fastapi.openapi.models import OpenAPI
from pydantic import BaseModel

from clarity import api
from clarity.api import problems, wire
from clarity.api.app import create_app
from clarity.api.options import ApiOptions
from clarity.application.pages import MAX_PAGE
from tests.api.clinic import Clinic
from tests.builders import TODAY

MODULES = tuple(import_module(found.name) for found in walk_packages(api.__path__, "clarity.api."))
SHAPES: dict[str, type[BaseModel]] = {
    name: shape
    for module in MODULES
    for name, shape in vars(module).items()
    if isinstance(shape, type) and issubclass(shape, BaseModel)
}


def unopened() -> Any:
    pytest.fail("describing the API opened it")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """Return the description of an API that was never started."""
    return create_app(unopened, ApiOptions(today=lambda: TODAY)).openapi()


def everything_in(value: Any) -> Iterator[dict[str, Any]]:
    """Return every object in a JSON value."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from everything_in(item)


def operations_in(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return every operation."""
    for operations in document["paths"].values():
        yield from operations.values()


async def test_the_served_document_is_the_described_one(memory_clinic: Clinic, document: dict[str, Any]) -> None:
    served = await memory_clinic.caller().get("http://clinic.test/openapi.json")
    assert served.json() == document


def test_the_document_is_openapi(document: dict[str, Any]) -> None:
    OpenAPI.model_validate(document)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = {place["$ref"] for place in everything_in(document) if "$ref" in place}
    defined = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references == defined


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    assert len(tags) == len(document["tags"])
    names = [operation["operationId"] for operation in operations_in(document)]
    assert len(names) == len(set(names)) > 40
    for operation in operations_in(document):
        assert operation["description"]
        assert set(operation["tags"]) <= tags


def test_every_schema_is_described(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert schema.get("description"), name


def test_every_problem_is_shown_by_an_example_of_its_shape(document: dict[str, Any]) -> None:
    for operation in operations_in(document):
        for status, response in operation["responses"].items():
            if int(status) < 400 or "ready" in operation["operationId"]:
                continue
            content = response["content"][problems.MEDIA_TYPE]
            assert content["examples"]
            for name, example in content["examples"].items():
                problem = problems.ProblemOut.model_validate_json(json.dumps(example["value"]))
                assert problem.status == int(status)
                assert problem.type == f"urn:clarity:problem:{name}"


def test_every_operation_says_how_it_may_end(document: dict[str, Any]) -> None:
    for operation in operations_in(document):
        expected = {"401", "422", "500", "503"} if operation["tags"] != ["health"] else set()
        names = {parameter["name"] for parameter in operation.get("parameters", ())}
        expected |= {"413", "415"} if "requestBody" in operation else set()
        expected |= {"404"} if "patient_id" in names else set()
        expected |= {"412", "428"} if "If-Match" in names else set()
        assert expected <= operation["responses"].keys(), operation["operationId"]


def test_whatever_needs_a_log_in_may_find_it_too_weak(document: dict[str, Any]) -> None:
    asking = [operation for operation in operations_in(document) if "security" in operation]
    assert len(asking) > 40
    for operation in asking:
        examples = operation["responses"]["403"]["content"][problems.MEDIA_TYPE]["examples"]
        assert "second-factor-missing" in examples, operation["operationId"]


# These have no limit: the first three end by themselves, of consents there are few, and the others are bounded by days.
BOUNDED_OTHERWISE = {
    "list_own_sessions",
    "list_sessions_of_account",
    "list_note_templates",
    "list_consents",
    "move_appointment",
    "cancel_appointment",
    "view_day",
    "list_closures",
}


def test_every_list_has_a_limit_of_a_hundred_at_most(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    def properties(content: dict[str, Any]) -> dict[str, Any]:
        schema = content.get("content", {}).get("application/json", {}).get("schema", {})
        named = schemas[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema
        found: dict[str, Any] = named.get("properties", {})
        return found

    unbounded = set()
    for operation in operations_in(document):
        if "items" in properties(operation["responses"].get("200", {})):
            limits = [one["schema"] for one in operation.get("parameters", ()) if one["name"] == "limit"]
            limits += [properties(operation.get("requestBody", {})).get("limit", {})]
            if not any(1 <= limit.get("maximum", 0) <= MAX_PAGE for limit in limits):
                unbounded.add(operation["operationId"])
    assert unbounded == BOUNDED_OTHERWISE


# The lists to which something new is added.
NEW = ("/disclosures", "/appointments", "/series", "/notes", "/prescriptions", "/interactions", "/search")
# What those do who see no record, and therefore no version of one.
ON_THE_RECORD_AS_IT_STANDS = {"place_legal_hold", "release_legal_hold", "delete_patient"}


def test_every_change_to_a_stored_patient_names_its_version(document: dict[str, Any]) -> None:
    unnamed = set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            # What a patient allowed is added to and withdrawn, and never changed; what is new has no version yet.
            new = method == "post" and path.endswith(NEW)
            if "{patient_id}" in path and "/consents" not in path and not new and method != "get":
                required = {one["name"] for one in operation["parameters"] if one["required"]}
                if "If-Match" not in required:
                    unnamed.add(operation["operationId"])
    assert unnamed == ON_THE_RECORD_AS_IT_STANDS


def examples() -> Iterator[tuple[str, Any]]:
    for name, schema in (
        create_app(unopened, ApiOptions(today=lambda: TODAY)).openapi()["components"]["schemas"].items()
    ):
        for example in schema.get("examples", ()):
            yield name, example


@pytest.mark.parametrize(("name", "example"), list(examples()))
def test_every_example_is_one(name: str, example: Any) -> None:
    shape = SHAPES[name].model_validate_json(json.dumps(example))
    if isinstance(shape, wire.Received):
        shape.content()


def test_bodies_have_examples(document: dict[str, Any]) -> None:
    for operation in operations_in(document):
        for media in operation.get("requestBody", {}).get("content", {}).values():
            name = media["schema"]["$ref"].rpartition("/")[2]
            assert document["components"]["schemas"][name].get("examples"), name


async def test_the_example_of_a_registration_can_be_registered(memory_clinic: Clinic, document: dict[str, Any]) -> None:
    desk = await memory_clinic.front_desk()
    for example in document["components"]["schemas"]["RegistrationIn"]["examples"]:
        assert (await desk.post("/patients", json=example)).status_code == 201
