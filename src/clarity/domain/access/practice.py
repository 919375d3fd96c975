"""The part of the policy that is about what is done for a patient: appointments, notes, prescriptions, contacts.

A record is at least as confidential as its patient: a rule covers it only if it covers the labels of both.
"""

from clarity.domain.access.actors import Action, Relation, Role
from clarity.domain.access.grounds import (
    ALL_BUT_PSYCHOTHERAPY,
    AMENDMENT,
    BY_AUTHOR,
    BY_CONSENT,
    BY_CONSENT_OR_AUTHORISATION,
    IN_EMERGENCY,
    OF_THE_OWN,
    ORDINARY,
    READ,
)
from clarity.domain.access.rules import Rule
from clarity.domain.records import Label, Resource

_SHOWN = READ | {Action.VIEW_HISTORY}
_APPOINTED = frozenset({Action.REGISTER, Action.CHANGE, Action.CANCEL, Action.COMPLETE})
_CARERS = (Role.CLINICIAN, Role.NURSE)
_STAFF = (Role.CLINICIAN, Role.NURSE, Role.FRONT_DESK)

_APPOINTMENTS = (
    *(
        Rule(
            role=role,
            resource=Resource.APPOINTMENT,
            actions=_SHOWN | actions,
            relation=relation,
            labels=ORDINARY,
            consented=frozenset({Label.PART2}),
            basis=BY_CONSENT,
        )
        for role in _CARERS
        # Whoever could book themselves for anybody would make their own tie.
        for relation, actions in (
            (Relation.CARE_TEAM, _APPOINTED),
            (Relation.PARTICIPANT, _APPOINTED - {Action.REGISTER}),
        )
    ),
    Rule(
        role=Role.FRONT_DESK,
        resource=Resource.APPOINTMENT,
        actions=_SHOWN | _APPOINTED,
        relation=Relation.ANYBODY,
    ),
    Rule(
        role=Role.PATIENT,
        resource=Resource.APPOINTMENT,
        actions=READ | {Action.CANCEL},
        relation=Relation.SELF,
        labels=ALL_BUT_PSYCHOTHERAPY,
        basis=OF_THE_OWN,
    ),
    # When somebody is free says nothing of any patient; when they are booked, each time by itself, is for the staff.
    *(
        Rule(
            role=role,
            resource=Resource.SCHEDULE,
            actions=frozenset({Action.VIEW, Action.LIST}),
            relation=Relation.ANYBODY,
        )
        for role in (*_STAFF, Role.ADMINISTRATOR)
    ),
    Rule(role=Role.PATIENT, resource=Resource.SCHEDULE, actions=frozenset({Action.VIEW}), relation=Relation.ANYBODY),
    *(
        Rule(role=role, resource=Resource.SCHEDULE, actions=frozenset({Action.CHANGE}), relation=Relation.ANYBODY)
        for role in (Role.FRONT_DESK, Role.ADMINISTRATOR)
    ),
)

_NOTES = (
    Rule(
        role=Role.CLINICIAN,
        resource=Resource.NOTE,
        actions=_SHOWN,
        relation=Relation.CARE_TEAM,
        labels=ORDINARY,
        consented=frozenset({Label.PART2, Label.PSYCHOTHERAPY}),
        basis=BY_CONSENT_OR_AUTHORISATION,
    ),
    # To write a psychotherapy note is to see none: whoever cares for the patient may begin one, and is its author.
    Rule(
        role=Role.CLINICIAN,
        resource=Resource.NOTE,
        actions=frozenset({Action.REGISTER}),
        relation=Relation.CARE_TEAM,
        labels=ORDINARY | {Label.PSYCHOTHERAPY},
        consented=frozenset({Label.PART2}),
        basis=BY_CONSENT,
    ),
    Rule(
        role=Role.CLINICIAN,
        resource=Resource.NOTE,
        # Patients who do not ask here themselves have somebody enter it for them.
        actions=frozenset({Action.COSIGN, Action.REQUEST_AMENDMENT, Action.DECIDE_AMENDMENT}),
        relation=Relation.CARE_TEAM,
        labels=ORDINARY,
        consented=frozenset({Label.PART2}),
        basis=BY_CONSENT,
    ),
    Rule(
        role=Role.CLINICIAN,
        resource=Resource.NOTE,
        actions=_SHOWN | {Action.CHANGE, Action.SIGN, Action.DELETE},
        relation=Relation.AUTHOR,
        labels=frozenset(Label),
        basis=BY_AUTHOR,
    ),
    Rule(
        role=Role.NURSE,
        resource=Resource.NOTE,
        actions=_SHOWN | {Action.REGISTER, Action.REQUEST_AMENDMENT},
        relation=Relation.CARE_TEAM,
        labels=ORDINARY,
        consented=frozenset({Label.PART2}),
        basis=BY_CONSENT,
    ),
    Rule(
        role=Role.NURSE,
        resource=Resource.NOTE,
        actions=_SHOWN | {Action.CHANGE, Action.SIGN, Action.DELETE},
        relation=Relation.AUTHOR,
        labels=ALL_BUT_PSYCHOTHERAPY,
        basis=BY_AUTHOR,
    ),
    Rule(
        role=Role.PATIENT,
        resource=Resource.NOTE,
        actions=READ | {Action.REQUEST_AMENDMENT},
        relation=Relation.SELF,
        labels=ALL_BUT_PSYCHOTHERAPY,
        basis=f"{OF_THE_OWN}; {AMENDMENT}",
    ),
)

_PRESCRIPTIONS = (
    Rule(
        role=Role.CLINICIAN,
        resource=Resource.PRESCRIPTION,
        actions=_SHOWN | {Action.REGISTER, Action.CHANGE, Action.STOP},
        relation=Relation.CARE_TEAM,
        labels=ORDINARY,
        consented=frozenset({Label.PART2}),
        basis=BY_CONSENT,
    ),
    Rule(
        role=Role.NURSE,
        resource=Resource.PRESCRIPTION,
        actions=_SHOWN,
        relation=Relation.CARE_TEAM,
        labels=ORDINARY,
        consented=frozenset({Label.PART2}),
        basis=BY_CONSENT,
    ),
    Rule(
        role=Role.PATIENT,
        resource=Resource.PRESCRIPTION,
        actions=READ,
        relation=Relation.SELF,
        labels=ALL_BUT_PSYCHOTHERAPY,
        basis=OF_THE_OWN,
    ),
)

_INTERACTIONS = (
    *(
        Rule(
            role=role,
            resource=Resource.INTERACTION,
            actions=READ | {Action.REGISTER},
            relation=Relation.CARE_TEAM,
            labels=ORDINARY,
            consented=frozenset({Label.PART2}),
            basis=BY_CONSENT,
        )
        for role in _CARERS
    ),
    Rule(
        role=Role.PATIENT,
        resource=Resource.INTERACTION,
        actions=READ | {Action.REGISTER},
        relation=Relation.SELF,
        labels=ALL_BUT_PSYCHOTHERAPY,
        basis=OF_THE_OWN,
    ),
)

_DEVICES = (
    # What an app reports of its patient, such as a dose that was taken. It reads nothing.
    Rule(
        role=Role.DEVICE,
        resource=Resource.INTERACTION,
        actions=frozenset({Action.REGISTER}),
        relation=Relation.SELF,
        labels=ALL_BUT_PSYCHOTHERAPY,
        basis=OF_THE_OWN,
    ),
)

# What was recorded of a contact never changes, and has no history.
_READ_AS = (
    (Resource.APPOINTMENT, _SHOWN),
    (Resource.NOTE, _SHOWN),
    (Resource.PRESCRIPTION, _SHOWN),
    (Resource.INTERACTION, READ),
)

_IN_AN_EMERGENCY = tuple(
    Rule(
        role=role,
        resource=resource,
        actions=actions,
        relation=Relation.EMERGENCY,
        labels=ALL_BUT_PSYCHOTHERAPY,
        basis=IN_EMERGENCY,
    )
    for role in _CARERS
    for resource, actions in _READ_AS
)

_OPERATOR = (
    *(
        rule
        for resource, actions in _READ_AS
        for rule in (
            Rule(
                role=Role.SYSTEM,
                resource=resource,
                actions=actions,
                relation=Relation.ANYBODY,
                labels=ORDINARY,
                consented=frozenset({Label.PART2}),
                basis=BY_CONSENT,
            ),
            Rule(
                role=Role.SYSTEM,
                resource=resource,
                actions=frozenset({Action.REGISTER, Action.IMPORT}),
                relation=Relation.ANYBODY,
                labels=ALL_BUT_PSYCHOTHERAPY,
            ),
        )
    ),
    Rule(
        role=Role.SYSTEM,
        resource=Resource.APPOINTMENT,
        actions=frozenset({Action.CHANGE, Action.CANCEL, Action.COMPLETE}),
        relation=Relation.ANYBODY,
        labels=ALL_BUT_PSYCHOTHERAPY,
    ),
    Rule(
        role=Role.SYSTEM,
        resource=Resource.SCHEDULE,
        actions=frozenset({Action.VIEW, Action.LIST, Action.CHANGE}),
        relation=Relation.ANYBODY,
    ),
)

PRACTICE_RULES = (
    *_APPOINTMENTS,
    *_NOTES,
    *_PRESCRIPTIONS,
    *_INTERACTIONS,
    *_DEVICES,
    *_IN_AN_EMERGENCY,
    *_OPERATOR,
)
