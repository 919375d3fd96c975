"""The policy as it was decided, read from tests/policy.txt: what the policy in the code is compared with."""

import re
from collections.abc import Iterator
from functools import cache, reduce
from operator import or_
from pathlib import Path
from typing import TypeVar

from clarity.domain.access import Action, Cell, Relation, Role
from clarity.domain.access.rules import Place
from clarity.domain.patients import FIELD_BITS, PatientField
from clarity.domain.records import Label, Resource

LABELS = (Label.NORMAL, Label.RESTRICTED, Label.PART2, Label.PSYCHOTHERAPY)
_EVERY = "every action"
_BUT = f"{_EVERY} but "
_FILE = Path(__file__).with_name("policy.txt")
_ANSWERS = {"yes": False, "consent": True}
Named = TypeVar("Named", Action, Resource)


@cache
def decided_cells() -> dict[Place, Cell]:
    """Return every cell that was decided on; raises `ValueError` if two lines speak of one."""
    cells: dict[Place, Cell] = {}
    for place, cell in _cells(_FILE.read_text()):
        if place in cells:
            raise ValueError(place)
        cells[place] = cell
    return cells


def _cells(text: str) -> Iterator[tuple[Place, Cell]]:
    named = {"none": PatientField(0), **FIELD_BITS}
    role, resource = Role.NOBODY, Resource.PATIENT
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("fields "):
            _, name, fields = line.split(maxsplit=2)
            named[name] = reduce(or_, (FIELD_BITS[field] for field in fields.split()))
        elif not line.startswith(" "):
            written_role, _, written_resource = line.partition(": ")
            role, resource = Role.titled(written_role), titled(Resource, written_resource)
        else:
            relation, *answers, fields, actions = re.split(r" {2,}", line.strip())
            for action in _actions(actions):
                for label, answer in zip(LABELS, answers, strict=True):
                    if answer != "-":
                        place = (role, resource, action, Relation(relation), label)
                        yield place, Cell(named[fields], needs_consent=_ANSWERS[answer])


def _actions(written: str) -> list[Action]:
    if written == _EVERY:
        return list(Action)
    if written.startswith(_BUT):
        left_out = _actions(written.removeprefix(_BUT))
        return [action for action in Action if action not in left_out]
    return [titled(Action, title) for title in written.split(", ")]


def titled(kind: type[Named], title: str) -> Named:
    """Return the member written as `title`."""
    return next(member for member in kind if member.title == title)
