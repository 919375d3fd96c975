"""What the mapping keeps of the published test data, and that whole resources in it are valid."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from clarity.application.imports import Incoming
from clarity.fhir.patients import patient_to_fhir
from clarity.fhir.practitioners import practitioner_to_fhir
from tests.bundles import Json, inputs_of
from tests.data import real_files, resources_in

# What is lost on the way in and out, by type and element; extensions by their URL. Ids become sources.
LOST = {
    "Patient": {
        "id",
        "meta.profile",
        "meta.tag.code",
        "meta.tag.system",
        "text.div",
        "text.status",
        "extension(disability-adjusted-life-years).valueDecimal",
        "extension(quality-adjusted-life-years).valueDecimal",
    },
    "Practitioner": {
        "id",
        "meta.profile",
        "meta.tag.code",
        "meta.tag.system",
        "extension(utilization-encounters-extension).valueInteger",
        "telecom.extension(us-core-direct).valueBoolean",
    },
}
ALWAYS = {"id"}


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the elements of a resource that have a value, with it; extensions go by the end of their URL."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "extension":
                for one in value:
                    rest = {key: part for key, part in one.items() if key != "url"}
                    yield from leaves(rest, f"{path}extension({one['url'].rpartition('/')[2]}).")
            else:
                yield from leaves(value, f"{path}{name}.")
    elif isinstance(node, list):
        for value in node:
            yield from leaves(value, path)
    else:
        yield path.rstrip("."), json.dumps(node)


@pytest.mark.parametrize("folder", ["synthea-r4", "bulk-r4-10-patients"])
def test_nothing_that_is_mapped_is_lost(folder: str) -> None:
    path = real_files(folder)
    before = {f"import|{one['resourceType']}/{one['id']}": one for one in resources_in(path)}
    after: dict[str, Json] = {}
    for unit in inputs_of(path).units():
        assert isinstance(unit, Incoming)
        after |= {one.patient.sources[0]: patient_to_fhir(one.patient) for one in unit.patients}
        after |= {one.practitioner.sources[0]: practitioner_to_fhir(one.practitioner) for one in unit.practitioners}
    lost: dict[str, set[str]] = {"Patient": set(), "Practitioner": set()}
    for source, resource in after.items():
        came, went = Counter(leaves(before[source])), Counter(leaves(json.loads(json.dumps(resource))))
        lost[resource["resourceType"]] |= {element for element, _ in came - went}
        assert {element for element, _ in went - came} == ALWAYS  # nothing is made up but our own id
    assert all(lost[name] <= LOST[name] for name in LOST), lost
    assert len(after) == sum(one["resourceType"] in LOST for one in before.values())


@pytest.mark.parametrize("folder", ["synthea-r4", "bulk-r4-10-patients"])
def test_the_published_data_is_valid_as_a_whole(folder: str) -> None:
    units = list(inputs_of(real_files(folder), strict=True).units())
    assert all(isinstance(unit, Incoming) for unit in units)
