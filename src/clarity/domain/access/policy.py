"""The one policy, as a table: role by resource by action by relation by label, and the fields of each cell.

`RULES` is what people write and read; `POLICY` is the same spread out to single cells. What has no cell is refused.
`clarity policy show` prints it.
"""

from clarity.domain.access.actors import Action, Relation, Role
from clarity.domain.access.grounds import (
    ACCOUNTING,
    ALL_BUT_PSYCHOTHERAPY,
    BY_AUTHOR,
    BY_CONSENT,
    BY_CONSENT_OR_AUTHORISATION,
    IN_EMERGENCY,
    OF_THE_OWN,
    ORDINARY,
    READ,
)
from clarity.domain.access.practice import PRACTICE_RULES
from clarity.domain.access.rules import Policy, Rule
from clarity.domain.patients import ALL_FIELDS, DEMOGRAPHICS, PatientField
from clarity.domain.records import Label, Resource

_PEOPLE = (
    Role.ADMINISTRATOR,
    Role.CLINICIAN,
    Role.NURSE,
    Role.FRONT_DESK,
    Role.COMPLIANCE_OFFICER,
    Role.RESEARCHER,
    Role.PATIENT,
    Role.DEVICE,
)
# Each by its name: of a new kind of record nobody has thought until it is written here.
_KEPT_BESIDE_PATIENTS = (
    Resource.PRACTITIONER,
    Resource.ACCOUNT,
    Resource.SESSION,
    Resource.CONSENT,
    Resource.BREAK_GLASS,
    Resource.CREDENTIAL,
    Resource.DUPLICATE,
    Resource.RESEARCH_SUBJECT,
    Resource.MESSAGE,
    Resource.AUDIT_EVENT,
    Resource.DISCLOSURE,
)
_STAFF = (Role.ADMINISTRATOR, Role.CLINICIAN, Role.NURSE, Role.FRONT_DESK, Role.COMPLIANCE_OFFICER)
_CARER_FIELDS = ALL_FIELDS & ~(PatientField.SOURCES | PatientField.LEGAL_HOLD | PatientField.REMOVAL)
_NURSE_FIELDS = _CARER_FIELDS & ~PatientField.LABEL
_OWN_FIELDS = _CARER_FIELDS & ~PatientField.NOTES
_DESK_FIELDS = DEMOGRAPHICS & ~(PatientField.SOURCES | PatientField.LABEL)
# What remains of a person once identifiers, contacts and free text are gone (45 CFR 164.514(b)(2)(i)); the values are
# made coarser still before they leave.
_RESEARCH_FIELDS = (
    PatientField.BORN
    | PatientField.GENDER
    | PatientField.BIRTH_SEX
    | PatientField.MARITAL_STATUS
    | PatientField.LANGUAGES
    | PatientField.RACE
    | PatientField.ETHNICITY
    | PatientField.ADDRESSES
    | PatientField.DEATH
    | PatientField.DISCHARGED
)

_OPERATOR = (
    Rule(
        role=Role.SYSTEM,
        resource=Resource.PATIENT,
        actions=READ | {Action.SEARCH_BY_SSN, Action.VIEW_HISTORY},
        relation=Relation.ANYBODY,
        labels=ORDINARY,
        consented=frozenset({Label.PART2}),
        fields=ALL_FIELDS,
        basis=BY_CONSENT,
    ),
    # What changes a record without showing it to anybody reaches every record.
    Rule(
        role=Role.SYSTEM,
        resource=Resource.PATIENT,
        actions=frozenset(Action) - READ - {Action.SEARCH_BY_SSN, Action.VIEW_HISTORY, Action.BREAK_GLASS},
        relation=Relation.ANYBODY,
        labels=ALL_BUT_PSYCHOTHERAPY,
        fields=ALL_FIELDS,
    ),
    *(
        Rule(role=Role.SYSTEM, resource=resource, actions=frozenset(Action), relation=Relation.ANYBODY)
        for resource in _KEPT_BESIDE_PATIENTS
    ),
)

# Registering, or changing an identifier, discloses by its refusal that somebody has that MRN. Both therefore
# need demographics of everybody, which the front desk has and the care team has not.
_CLINICIAN = (
    Rule(
        role=Role.CLINICIAN,
        resource=Resource.PATIENT,
        actions=READ
        | {
            Action.SEARCH_BY_SSN,
            Action.VIEW_HISTORY,
            Action.CHANGE,
            Action.DISCHARGE,
            Action.REACTIVATE,
            Action.RECORD_DEATH,
        },
        relation=Relation.CARE_TEAM,
        labels=ORDINARY,
        consented=frozenset({Label.PART2, Label.PSYCHOTHERAPY}),
        fields=_CARER_FIELDS,
        basis=BY_CONSENT_OR_AUTHORISATION,
    ),
    Rule(
        role=Role.CLINICIAN,
        resource=Resource.PATIENT,
        actions=frozenset({Action.CHANGE_CARE_TEAM}),
        relation=Relation.CARE_TEAM,
        labels=ORDINARY,
        consented=frozenset({Label.PART2}),
        fields=PatientField.CARE_TEAM,
        basis=BY_CONSENT,
    ),
    Rule(
        role=Role.CLINICIAN,
        resource=Resource.PATIENT,
        actions=READ | {Action.VIEW_HISTORY, Action.CHANGE},
        relation=Relation.AUTHOR,
        labels=frozenset({Label.PART2, Label.PSYCHOTHERAPY}),
        fields=_CARER_FIELDS,
        basis=BY_AUTHOR,
    ),
)

_NURSE = (
    Rule(
        role=Role.NURSE,
        resource=Resource.PATIENT,
        actions=READ | {Action.VIEW_HISTORY, Action.CHANGE},
        relation=Relation.CARE_TEAM,
        labels=ORDINARY,
        consented=frozenset({Label.PART2}),
        fields=_NURSE_FIELDS,
        basis=BY_CONSENT,
    ),
)

_CARERS = tuple(
    rule
    for role, fields in ((Role.CLINICIAN, _CARER_FIELDS), (Role.NURSE, _NURSE_FIELDS))
    for rule in (
        Rule(
            role=role,
            resource=Resource.PATIENT,
            actions=frozenset({Action.BREAK_GLASS}),
            relation=Relation.ANYBODY,
            labels=ALL_BUT_PSYCHOTHERAPY,
            basis=IN_EMERGENCY,
        ),
        Rule(
            role=role,
            resource=Resource.PATIENT,
            actions=READ | {Action.VIEW_HISTORY},
            relation=Relation.EMERGENCY,
            labels=ALL_BUT_PSYCHOTHERAPY,
            fields=fields,
            basis=IN_EMERGENCY,
        ),
        Rule(
            role=role,
            resource=Resource.BREAK_GLASS,
            actions=frozenset({Action.VIEW, Action.LIST, Action.REVOKE}),
            relation=Relation.AUTHOR,
        ),
        Rule(
            role=role,
            resource=Resource.CONSENT,
            actions=frozenset({Action.LIST, Action.REGISTER, Action.WITHDRAW}),
            relation=Relation.CARE_TEAM,
        ),
        Rule(
            role=role,
            resource=Resource.DISCLOSURE,
            actions=frozenset({Action.LIST, Action.REGISTER}),
            relation=Relation.CARE_TEAM,
        ),
    )
)

_FRONT_DESK = (
    Rule(
        role=Role.FRONT_DESK,
        resource=Resource.PATIENT,
        actions=READ
        | {Action.SEARCH_BY_SSN, Action.REGISTER, Action.CHANGE, Action.REACTIVATE, Action.RECORD_DEATH, Action.MERGE}
        | {Action.UNMERGE},
        relation=Relation.ANYBODY,
        fields=_DESK_FIELDS,
    ),
    Rule(
        role=Role.FRONT_DESK,
        resource=Resource.PATIENT,
        actions=frozenset({Action.CHANGE_IDENTIFIERS}),
        relation=Relation.ANYBODY,
        fields=PatientField.IDENTIFIERS,
    ),
    Rule(
        role=Role.FRONT_DESK,
        resource=Resource.PATIENT,
        actions=frozenset({Action.CHANGE_CARE_TEAM}),
        relation=Relation.ANYBODY,
        fields=PatientField.CARE_TEAM,
    ),
    Rule(
        role=Role.FRONT_DESK,
        resource=Resource.DUPLICATE,
        actions=frozenset({Action.VIEW, Action.LIST, Action.REVIEW}),
        relation=Relation.ANYBODY,
    ),
)

_COMPLIANCE_OFFICER = (
    Rule(
        role=Role.COMPLIANCE_OFFICER,
        resource=Resource.PATIENT,
        actions=frozenset({Action.CHANGE_LEGAL_HOLD, Action.LIST_LEGAL_HOLDS}),
        relation=Relation.ANYBODY,
        labels=ALL_BUT_PSYCHOTHERAPY,
        fields=PatientField.LEGAL_HOLD,
    ),
    Rule(
        role=Role.COMPLIANCE_OFFICER,
        resource=Resource.PATIENT,
        actions=frozenset({Action.DELETE, Action.OVERRIDE_RETENTION, Action.VIEW_TOMBSTONE}),
        relation=Relation.ANYBODY,
        labels=ALL_BUT_PSYCHOTHERAPY,
        fields=PatientField.REMOVAL,
    ),
    Rule(
        role=Role.COMPLIANCE_OFFICER,
        resource=Resource.BREAK_GLASS,
        actions=frozenset({Action.VIEW, Action.LIST, Action.REVIEW}),
        relation=Relation.ANYBODY,
    ),
    Rule(
        role=Role.COMPLIANCE_OFFICER,
        resource=Resource.AUDIT_EVENT,
        actions=frozenset({Action.LIST, Action.EXPORT, Action.REPORT}),
        relation=Relation.ANYBODY,
        basis="45 CFR 164.308(a)(1)(ii)(D) (review of audit logs and access reports)",
    ),
    Rule(
        role=Role.COMPLIANCE_OFFICER,
        resource=Resource.DISCLOSURE,
        actions=frozenset({Action.LIST, Action.REGISTER, Action.CHANGE, Action.REVIEW, Action.ACCOUNT_FOR}),
        relation=Relation.ANYBODY,
        basis=ACCOUNTING,
    ),
    # An accounting is a letter, and names whom it is about.
    Rule(
        role=Role.COMPLIANCE_OFFICER,
        resource=Resource.PATIENT,
        actions=frozenset({Action.ACCOUNT_FOR}),
        relation=Relation.ANYBODY,
        labels=ALL_BUT_PSYCHOTHERAPY,
        fields=PatientField.NAMES,
        basis=ACCOUNTING,
    ),
)

_ADMINISTRATOR = (
    Rule(
        role=Role.ADMINISTRATOR,
        resource=Resource.PATIENT,
        actions=frozenset({Action.DELETE}),
        relation=Relation.ANYBODY,
        labels=ALL_BUT_PSYCHOTHERAPY,
        fields=PatientField.REMOVAL,
    ),
    Rule(
        role=Role.ADMINISTRATOR,
        resource=Resource.PRACTITIONER,
        actions=frozenset({Action.REGISTER, Action.CHANGE}),
        relation=Relation.ANYBODY,
    ),
    Rule(
        role=Role.ADMINISTRATOR,
        resource=Resource.ACCOUNT,
        actions=frozenset(
            {
                Action.VIEW,
                Action.LIST,
                Action.REGISTER,
                Action.CHANGE_STATUS,
                Action.CHANGE_ROLE,
                Action.RESET_PASSWORD,
                Action.REMOVE_SECOND_FACTOR,
            }
        ),
        relation=Relation.ANYBODY,
    ),
    Rule(
        role=Role.ADMINISTRATOR,
        resource=Resource.SESSION,
        actions=frozenset({Action.LIST, Action.REVOKE}),
        relation=Relation.ANYBODY,
    ),
    Rule(
        role=Role.ADMINISTRATOR,
        resource=Resource.CREDENTIAL,
        actions=frozenset({Action.LIST, Action.REGISTER, Action.REVOKE}),
        relation=Relation.ANYBODY,
    ),
)

_OTHERS = (
    Rule(
        role=Role.RESEARCHER,
        resource=Resource.RESEARCH_SUBJECT,
        actions=frozenset({Action.LIST}),
        relation=Relation.ANYBODY,
        fields=_RESEARCH_FIELDS,
        basis="45 CFR 164.514(b)(2) (Safe Harbor)",
    ),
    Rule(
        role=Role.PATIENT,
        resource=Resource.PATIENT,
        actions=READ,
        relation=Relation.SELF,
        labels=ALL_BUT_PSYCHOTHERAPY,
        fields=_OWN_FIELDS,
        basis=OF_THE_OWN,
    ),
    Rule(
        role=Role.PATIENT,
        resource=Resource.CONSENT,
        actions=frozenset({Action.LIST, Action.REGISTER, Action.WITHDRAW}),
        relation=Relation.SELF,
    ),
    Rule(
        role=Role.PATIENT,
        resource=Resource.DISCLOSURE,
        actions=frozenset({Action.ACCOUNT_FOR}),
        relation=Relation.SELF,
        basis=ACCOUNTING,
    ),
    Rule(
        role=Role.PATIENT,
        resource=Resource.PATIENT,
        actions=frozenset({Action.ACCOUNT_FOR}),
        relation=Relation.SELF,
        labels=ALL_BUT_PSYCHOTHERAPY,
        fields=PatientField.NAMES,
        basis=ACCOUNTING,
    ),
)

_OF_ALL_STAFF = tuple(
    Rule(
        role=role,
        resource=Resource.PRACTITIONER,
        actions=frozenset({Action.VIEW, Action.LIST}),
        relation=Relation.ANYBODY,
    )
    for role in _STAFF
)

_OF_EVERY_ACCOUNT = tuple(
    rule
    for role in _PEOPLE
    for rule in (
        Rule(
            role=role,
            resource=Resource.ACCOUNT,
            actions=frozenset(
                {
                    Action.VIEW,
                    Action.LOG_IN,
                    Action.REFRESH,
                    Action.LOG_OUT,
                    Action.CHANGE_PASSWORD,
                    Action.ENROL_SECOND_FACTOR,
                    Action.REMOVE_SECOND_FACTOR,
                }
            ),
            relation=Relation.SELF,
        ),
        Rule(
            role=role,
            resource=Resource.SESSION,
            actions=frozenset({Action.LIST, Action.REVOKE}),
            relation=Relation.SELF,
        ),
    )
)

RULES: tuple[Rule, ...] = (
    *_OPERATOR,
    *_ADMINISTRATOR,
    *_CLINICIAN,
    *_NURSE,
    *_CARERS,
    *_FRONT_DESK,
    *_COMPLIANCE_OFFICER,
    *_OTHERS,
    *_OF_ALL_STAFF,
    *_OF_EVERY_ACCOUNT,
    *PRACTICE_RULES,
)

POLICY = Policy.of(RULES)
