"""What a policy is made of: rules that people write, cells that they spread out to, rights that sum cells up."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from types import MappingProxyType

from clarity.domain.access.actors import Action, Relation, Role
from clarity.domain.errors import Misconfigured
from clarity.domain.patients import PatientField
from clarity.domain.records import Label, Resource

NO_FIELDS = PatientField(0)
_NORMAL = frozenset({Label.NORMAL})
_WHO_ACTS = tuple(role for role in Role if role is not Role.NOBODY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Some rows of the policy: `role` may do `actions` to records of kind `resource` to which it has `relation`.

    That covers records with one of `labels`, and those with one of `consented` as far as a consent of the patient does.
    `fields` are shown, or may change. `basis` says where the rule comes from, if that is not the practice's own choice.
    """

    role: Role
    resource: Resource
    actions: frozenset[Action]
    relation: Relation
    labels: frozenset[Label] = _NORMAL
    consented: frozenset[Label] = frozenset()
    fields: PatientField = NO_FIELDS
    basis: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the policy: the fields it covers, and whether only with the patient's consent."""

    fields: PatientField
    needs_consent: bool


@dataclass(frozen=True, slots=True)
class Right:
    """What the policy has for one role, action and kind of record, over all relations and labels.

    `unguarded` has the relations through which records labelled normal are reached, `guarded` those through which
    others may be: which label it is, and whether a consent covers it, is known only after opening. `fields` says what
    a relation covers at most.
    """

    unguarded: frozenset[Relation] = frozenset()
    guarded: frozenset[Relation] = frozenset()
    fields: Mapping[Relation, PatientField] = field(default_factory=dict)

    @property
    def exists(self) -> bool:
        """Whether there is any record to which this right extends."""
        return bool(self.unguarded or self.guarded)

    @property
    def everybodys(self) -> bool:
        """Whether the right extends to everybody's records."""
        return Relation.ANYBODY in self.unguarded

    @property
    def own(self) -> bool:
        """Whether the right extends to the actor's own records."""
        return Relation.SELF in self.unguarded

    def covered(self, relations: Iterable[Relation]) -> PatientField:
        """Return the fields that some relations cover together."""
        found = [self.fields.get(relation, NO_FIELDS) for relation in relations]
        # One it is for most records, and to sum up flags takes as long as to decide.
        return found[0] if len(found) == 1 else reduce(or_, found, NO_FIELDS)


NOTHING = Right()


Place = tuple[Role, Resource, Action, Relation, Label]
"""Where a cell stands in the table."""


class Policy:
    """The table: its cells in the order they were written, and what they add up to for a role and an action."""

    def __init__(self, cells: Mapping[Place, Cell]) -> None:
        """Sum up `cells`."""
        self.cells = cells
        self._rights = _summed_up(cells)

    @classmethod
    def of(cls, rules: Iterable[Rule]) -> "Policy":
        """Spread out `rules`. Raises `ValueError` if two of them speak of one cell."""
        cells: dict[Place, Cell] = {}
        for rule in rules:
            for place, cell in _cells_of(rule):
                if place in cells:
                    message = f"two rules speak of {place}"
                    raise ValueError(message)
                cells[place] = cell
        return cls(cells)

    def right(self, role: Role, resource: Resource, action: Action) -> Right:
        """Return what `role` may do `action` to, of one kind of record."""
        return self._rights.get((role, resource, action), NOTHING)

    def cell(self, role: Role, resource: Resource, action: Action, relation: Relation, label: Label) -> Cell | None:
        """Return one cell, if there is one."""
        return self.cells.get((role, resource, action, relation, label))

    def require_complete(
        self, resources: Iterable[Resource] = tuple(Resource), roles: Iterable[Role] = _WHO_ACTS
    ) -> None:
        """Raise `Misconfigured` if a kind of record or a role has no row: nobody has thought of who may do what."""
        thought_of = {resource for _, resource, *_ in self.cells}
        missing = [resource.title for resource in resources if resource not in thought_of]
        known = {role for role, *_ in self.cells}
        missing += [role.title for role in roles if role not in known]
        if missing:
            raise Misconfigured(f"the policy has no rows for {', '.join(missing)}; add them to domain/access/policy.py")


def _summed_up(cells: Mapping[Place, Cell]) -> dict[tuple[Role, Resource, Action], Right]:
    unguarded: dict[tuple[Role, Resource, Action], set[Relation]] = {}
    guarded: dict[tuple[Role, Resource, Action], set[Relation]] = {}
    fields: dict[tuple[Role, Resource, Action], dict[Relation, PatientField]] = {}
    for (role, resource, action, relation, label), cell in cells.items():
        key = (role, resource, action)
        (unguarded if label is Label.NORMAL else guarded).setdefault(key, set()).add(relation)
        covered = fields.setdefault(key, {})
        covered[relation] = covered.get(relation, NO_FIELDS) | cell.fields
    return {
        key: Right(
            unguarded=frozenset(unguarded.get(key, ())),
            guarded=frozenset(guarded.get(key, ())),
            fields=MappingProxyType(covered),
        )
        for key, covered in fields.items()
    }


def _cells_of(rule: Rule) -> Iterator[tuple[Place, Cell]]:
    if rule.labels & rule.consented:
        message = f"a rule for {rule.role.title} covers a label both with consent and without"
        raise ValueError(message)
    for action in sorted(rule.actions):
        for label in Label:
            if label in rule.labels | rule.consented:
                cell = Cell(rule.fields, needs_consent=label in rule.consented)
                yield (rule.role, rule.resource, action, rule.relation, label), cell
