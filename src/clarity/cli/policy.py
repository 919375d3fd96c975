"""`clarity policy`: who may do what, for those who must know. Needs no practice: the policy is part of the program."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import reduce
from operator import or_
from typing import Annotated, TypeVar

import typer

from clarity.cli.policy_tables import as_csv, as_json, as_markdown, as_tables, fields_in_words, narrowed
from clarity.cli.terminal import note, results
from clarity.domain.access import NO_FIELDS, POLICY, RULES, Action, Relation, Role
from clarity.domain.records import Label, Resource

app = typer.Typer(no_args_is_help=True, help="Show who may do what to which record, and explain a single case.")

Named = TypeVar("Named")


class Format(StrEnum):
    """What a policy is printed as."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JSON = "json"
    CSV = "csv"


def _one_of(members: dict[str, Named]) -> Callable[[str], Named]:
    """Return what reads one of `members` by its title."""

    def read(title: str) -> Named:
        wanted = title.strip().lower()
        for spelling, member in members.items():
            if wanted == spelling:
                return member
        raise typer.BadParameter(f"one of: {', '.join(members)}")

    return read


_ROLES = {role.title: role for role in Role if role is not Role.NOBODY}
_RESOURCES = {resource.title: resource for resource in Resource}
_ACTIONS = {action.title: action for action in Action}
_RELATIONS = {str(relation): relation for relation in Relation}
_LABELS = {str(label): label for label in Label}

RoleOption = Annotated[
    Role | None,
    typer.Option("--role", parser=_one_of(_ROLES), metavar="ROLE", help="Only this role.", show_default=False),
]
ResourceOption = Annotated[
    Resource | None,
    typer.Option(
        "--resource", parser=_one_of(_RESOURCES), metavar="KIND", help="Only this kind of record.", show_default=False
    ),
]
ActionOption = Annotated[
    Action | None,
    typer.Option("--action", parser=_one_of(_ACTIONS), metavar="ACTION", help="Only this action.", show_default=False),
]
LabelOption = Annotated[
    Label | None,
    typer.Option(
        "--label", parser=_one_of(_LABELS), metavar="LABEL", help="Only records with this label.", show_default=False
    ),
]


@app.command(
    epilog="""Examples:

\b
clarity policy show --role nurse
clarity policy show --resource patient --label part2
clarity policy show --format csv > policy.csv"""
)
def show(
    *,
    role: RoleOption = None,
    resource: ResourceOption = None,
    action: ActionOption = None,
    label: LabelOption = None,
    format_: Annotated[
        Format, typer.Option("--format", help="As tables, as the page of the documents, or for other programs.")
    ] = Format.TABLE,
) -> None:
    """Print the policy: each role, kind of record, relation, action and label, with the fields that are covered.

    What it does not say is refused. Neither database nor keys are needed.
    """
    rules = narrowed(RULES, role=role, resource=resource, action=action, label=label)
    if format_ is Format.TABLE:
        results().print(as_tables(rules))
        if not rules:
            note("No row of the policy says anything about that, so it is refused.")
        return
    written = {Format.MARKDOWN: as_markdown, Format.JSON: as_json, Format.CSV: as_csv}[format_](rules)
    typer.echo(written.removesuffix("\n"))


@app.command(
    epilog="""Examples:

\b
clarity policy explain --role nurse --action change --relation "care team's" --label part2
clarity policy explain --role front-desk --action view --label restricted"""
)
def explain(
    *,
    role: Annotated[Role, typer.Option(parser=_one_of(_ROLES), metavar="ROLE", help=f"One of: {', '.join(_ROLES)}.")],
    action: Annotated[
        Action, typer.Option(parser=_one_of(_ACTIONS), metavar="ACTION", help="Such as view, change or discharge.")
    ],
    resource: Annotated[
        Resource | None,
        typer.Option(
            parser=_one_of(_RESOURCES),
            metavar="KIND",
            help=f"One of: {', '.join(_RESOURCES)}; by default a patient.",
            show_default=False,
        ),
    ] = None,
    relation: Annotated[
        Relation, typer.Option(parser=_one_of(_RELATIONS), metavar="RELATION", help=f"One of: {', '.join(_RELATIONS)}.")
    ] = Relation.ANYBODY,
    label: Annotated[
        Label, typer.Option(parser=_one_of(_LABELS), metavar="LABEL", help=f"One of: {', '.join(_LABELS)}.")
    ] = Label.NORMAL,
) -> None:
    """Say in one sentence whether a role may do something to a record, and by which row of the policy."""
    typer.echo(answer(role, action, resource or Resource.PATIENT, relation, label))


def answer(role: Role, action: Action, resource: Resource, relation: Relation, label: Label) -> str:
    """Return what the policy says of one case, in a sentence. Whoever has a relation has "anybody's" too."""
    rules = [
        rule
        for rule in narrowed(RULES, role=role, resource=resource, action=action, label=label)
        if rule.relation in {Relation.ANYBODY, relation}
    ]
    case = f"{role.title} · {action.title} · {resource.title} · {relation} · {label}"
    cells = [POLICY.cell(role, resource, action, rule.relation, label) for rule in rules]
    free = [cell.fields for cell in cells if cell and not cell.needs_consent]
    if free:
        verdict = "yes"
    elif rules:
        verdict = "only under a written consent of the patient that is in force for the purpose and the recipient"
    else:
        return f"{case}: no, {_instead(role, action, resource, label)}."
    counting = [rule for rule in rules if not free or label in rule.labels]
    fields = reduce(or_, (rule.fields for rule in counting), NO_FIELDS)
    shown = f"; fields: {fields_in_words(fields)}" if resource is Resource.PATIENT else ""
    rows = _joined(" and ", (rule.relation for rule in counting))
    basis = "; ".join(sorted({rule.basis for rule in counting if rule.basis}))
    return f"{case}: {verdict}{shown}; by the row {rows}{f' ({basis})' if basis else ''}."


def _instead(role: Role, action: Action, resource: Resource, label: Label) -> str:
    """Return what it would take, or that nothing would do."""
    others = narrowed(RULES, role=role, resource=resource, action=action, label=label)
    if others:
        return (
            f"no row covers that; the relation would have to be {_joined(' or ', (rule.relation for rule in others))}"
        )
    labels = narrowed(RULES, role=role, resource=resource, action=action)
    if labels:
        covered = {str(one) for rule in labels for one in rule.labels | rule.consented}
        return f"no row covers that label; those that the role gets to are {', '.join(sorted(covered))}"
    return f"no row of the policy lets that role {action.title} any such record"


def _joined(between: str, words: Iterable[str]) -> str:
    return between.join(f'"{word}"' for word in dict.fromkeys(words))
