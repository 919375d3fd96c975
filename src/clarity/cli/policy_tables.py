"""The policy as people read it: in tables, as a page of the documents, and for other programs."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from itertools import groupby

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from clarity.domain.access import Action, Policy, Relation, Role, Rule
from clarity.domain.patients import FIELD_BITS, PatientField
from clarity.domain.records import Label, Resource

# A list is told by what is missing if that is shorter, and short enough to be kept in mind.
_FEW = 8

_PREFACE = """\
# The policy

Who may do what to which record. This page is what `clarity policy show --format markdown` prints of the one table that
every path of the system asks, [`domain/access/policy.py`](../src/clarity/domain/access/policy.py); a test keeps the two
in step. What has no row here is refused, and a refusal looks like absence. How a decision is made stands in
[security.md](security.md#who-may-do-what), what the words mean in the [glossary](glossary.md). A single case is
answered by `clarity policy explain`.

**Whose** says how the actor stands to the record; one record may be reached in several ways, and then what they cover
adds up.

| Whose | Means |
|---|---|
"""
_COLUMNS = """\
**Labels** are those of the records that a row covers. A label in *italics* is covered only under a written consent of
the patient that is in force for the purpose and the recipient. **Fields** are what is shown, or may be changed; all
others are blank, and stay as they are. Names and date of birth are always shown with a record: without them it belongs
to nobody.
"""

RELATIONS = {
    Relation.ANYBODY: "no tie is needed",
    Relation.CARE_TEAM: "the actor is linked to a practitioner who is on the patient's care team now",
    Relation.SELF: "the record is of the patient the actor is linked to, or is their own account or session",
    Relation.AUTHOR: "the actor made the record",
    Relation.EMERGENCY: "the actor broke the glass for this patient, and the time is not over",
}
"""What each relation means, in words."""


def narrowed(
    rules: Iterable[Rule],
    *,
    role: Role | None = None,
    resource: Resource | None = None,
    action: Action | None = None,
    label: Label | None = None,
) -> list[Rule]:
    """Return what `rules` say of one role, kind of record, action or label, ordered by role and kind of record."""
    chosen = []
    for rule in rules:
        one = Rule(
            role=rule.role,
            resource=rule.resource,
            actions=rule.actions if action is None else rule.actions & {action},
            relation=rule.relation,
            labels=rule.labels if label is None else rule.labels & {label},
            consented=rule.consented if label is None else rule.consented & {label},
            fields=rule.fields,
            basis=rule.basis,
        )
        fits = role in (None, rule.role) and resource in (None, rule.resource)
        if fits and one.actions and one.labels | one.consented:
            chosen.append(one)
    # The system comes last: it is nobody who logs in.
    return sorted(chosen, key=lambda rule: (rule.role is Role.SYSTEM, rule.role, rule.resource))


def as_tables(rules: Sequence[Rule]) -> RenderableType:
    """Return one table for each role."""
    return Group(*(_table_of(role, list(some)) for role, some in groupby(rules, key=lambda rule: rule.role)))


def as_markdown(rules: Sequence[Rule]) -> str:
    """Return a page with one chapter for each role."""
    parts = [_PREFACE, *(f"| {relation} | {meaning} |\n" for relation, meaning in RELATIONS.items()), "\n", _COLUMNS]
    for role, some in groupby(rules, key=lambda rule: rule.role):
        parts.append(f"\n## {_headed(role.title)}\n\n")
        parts.append("| Record | Whose | May | Labels | Fields | Basis |\n|---|---|---|---|---|---|\n")
        parts += [f"| {' | '.join(_row(rule, '*{}*'))} |\n" for rule in some]
    return "".join(parts)


def as_json(rules: Iterable[Rule]) -> str:
    """Return every rule as an object."""
    return json.dumps([_plain(rule) for rule in rules], indent=2)


def as_csv(rules: Iterable[Rule]) -> str:
    """Return one line for each cell: role, kind of record, action, relation, label, whether under consent, fields."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(("role", "resource", "action", "relation", "label", "needs_consent", "fields", "basis"))
    # Written as the cells that decide, and not as the rules that they were made from.
    for rule in rules:
        for (role, resource, action, relation, label), cell in Policy.of([rule]).cells.items():
            needs = "yes" if cell.needs_consent else "no"
            fields = ", ".join(_names(cell.fields))
            writer.writerow((role.title, resource.title, action.title, relation, label, needs, fields, rule.basis))
    return written.getvalue()


def fields_in_words(fields: PatientField) -> str:
    """Return the fields as a person would name them: by what is left out, if that is shorter."""
    return _in_words(_names(fields), [name.replace("_", " ") for name in FIELD_BITS], "everything")


def _table_of(role: Role, rules: Sequence[Rule]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False, title=_headed(role.title), title_justify="left", title_style="bold")
    for title in ("Record", "Whose"):
        table.add_column(title, no_wrap=True)
    for title, ratio in (("May", 4), ("Labels", 2), ("Fields", 3), ("Basis", 3)):
        table.add_column(title, ratio=ratio)
    for rule in rules:
        table.add_row(*_row(rule, "{} under consent"))
    return table


def _row(rule: Rule, consented: str) -> tuple[str, ...]:
    labels = [str(label) for label in Label if label in rule.labels]
    labels += [consented.format(label) for label in Label if label in rule.consented]
    every = len(labels) == len(Label) and not rule.consented
    return (
        rule.resource.title,
        str(rule.relation),
        _in_words(_titles(rule.actions), [action.title for action in Action], "every action"),
        "every label" if every else ", ".join(labels),
        fields_in_words(rule.fields) if rule.fields else "",
        rule.basis,
    )


def _in_words(chosen: Sequence[str], all_of_them: Sequence[str], everything: str) -> str:
    missing = [name for name in all_of_them if name not in chosen]
    if not missing:
        return everything
    if len(missing) <= min(_FEW, len(chosen)):
        return f"{everything} but {', '.join(missing)}"
    return ", ".join(chosen) or "none"


def _plain(rule: Rule) -> dict[str, object]:
    return {
        "role": rule.role.title,
        "resource": rule.resource.title,
        "relation": rule.relation,
        "actions": _titles(rule.actions),
        "labels": [label for label in Label if label in rule.labels],
        "labels_under_consent": [label for label in Label if label in rule.consented],
        "fields": _names(rule.fields),
        "basis": rule.basis,
    }


def _titles(actions: frozenset[Action]) -> list[str]:
    return [action.title for action in sorted(actions)]


def _names(fields: PatientField) -> list[str]:
    return [name.replace("_", " ") for name, bit in FIELD_BITS.items() if bit in fields]


def _headed(title: str) -> str:
    return title.replace("-", " ").capitalize()
