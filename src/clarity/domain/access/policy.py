"""The one policy, as a table: role by resource by action by relation by label, and the fields of each cell.

`RULES` is what people write and read; `POLICY` is the same spread out to single cells. What has no cell is refused.
`clarity policy show` prints it.
"""

from clarity.domain.access.actors import Action, Relation, Role
from clarity.domain.access.rules import Policy, Rule
from clarity.domain.patients import ALL_FIELDS, DEMOGRAPHICS, PatientField
from clarity.domain.records import Label, Resource

_ORDINARY = frozenset({Label.NORMAL, Label.RESTRICTED})
_ALL_BUT_PSYCHOTHERAPY = frozenset({Label.NORMAL, Label.RESTRICTED, Label.PART2})
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
_STAFF = (Role.ADMINISTRATOR, Role.CLINICIAN, Role.NURSE, Role.FRONT_DESK, Role.COMPLIANCE_OFFICER)
_READ = frozenset({Action.VIEW, Action.LIST, Action.SEARCH})
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
        actions=_READ | {Action.SEARCH_BY_SSN, Action.VIEW_HISTORY},
        relation=Relation.ANYBODY,
        labels=_ORDINARY,
        consented=frozenset({Label.PART2}),
        fields=ALL_FIELDS,
    ),
    # What changes a record without showing it to anybody reaches every record.
    Rule(
        role=Role.SYSTEM,
        resource=Resource.PATIENT,
        actions=frozenset(Action) - _READ - {Action.SEARCH_BY_SSN, Action.VIEW_HISTORY, Action.BREAK_GLASS},
        relation=Relation.ANYBODY,
        labels=_ALL_BUT_PSYCHOTHERAPY,
        fields=ALL_FIELDS,
    ),
    *(
        Rule(role=Role.SYSTEM, resource=resource, actions=frozenset(Action), relation=Relation.ANYBODY)
        for resource in Resource
        if resource is not Resource.PATIENT
    ),
)

# Registering, or changing an identifier, discloses by its refusal that somebody has that MRN. Both therefore
# need demographics of everybody, which the front desk has and the care team has not.
_CLINICIAN = (
    Rule(
        role=Role.CLINICIAN,
        resource=Resource.PATIENT,
        actions=_READ
        | {
            Action.SEARCH_BY_SSN,
            Action.VIEW_HISTORY,
            Action.CHANGE,
            Action.DISCHARGE,
            Action.REACTIVATE,
            Action.RECORD_DEATH,
        },
        relation=Relation.CARE_TEAM,
        labels=_ORDINARY,
        consented=frozenset({Label.PART2, Label.PSYCHOTHERAPY}),
        fields=_CARER_FIELDS,
    ),
    Rule(
        role=Role.CLINICIAN,
        resource=Resource.PATIENT,
        actions=frozenset({Action.CHANGE_CARE_TEAM}),
        relation=Relation.CARE_TEAM,
        labels=_ORDINARY,
        consented=frozenset({Label.PART2}),
        fields=PatientField.CARE_TEAM,
    ),
    # 45 CFR 164.501: psychotherapy notes are kept apart by who wrote them. 42 CFR 2.12(c)(3): so is what stays inside.
    Rule(
        role=Role.CLINICIAN,
        resource=Resource.PATIENT,
        actions=_READ | {Action.VIEW_HISTORY, Action.CHANGE},
        relation=Relation.AUTHOR,
        labels=frozenset({Label.PART2, Label.PSYCHOTHERAPY}),
        fields=_CARER_FIELDS,
    ),
)

_NURSE = (
    Rule(
        role=Role.NURSE,
        resource=Resource.PATIENT,
        actions=_READ | {Action.VIEW_HISTORY, Action.CHANGE},
        relation=Relation.CARE_TEAM,
        labels=_ORDINARY,
        consented=frozenset({Label.PART2}),
        fields=_NURSE_FIELDS,
    ),
)

_CARERS = tuple(
    rule
    for role, fields in ((Role.CLINICIAN, _CARER_FIELDS), (Role.NURSE, _NURSE_FIELDS))
    for rule in (
        # 45 CFR 164.312(a)(2)(ii); 42 CFR 2.51 for records under Part 2. Never psychotherapy notes.
        Rule(
            role=role,
            resource=Resource.PATIENT,
            actions=frozenset({Action.BREAK_GLASS}),
            relation=Relation.ANYBODY,
            labels=_ALL_BUT_PSYCHOTHERAPY,
        ),
        Rule(
            role=role,
            resource=Resource.PATIENT,
            actions=_READ | {Action.VIEW_HISTORY},
            relation=Relation.EMERGENCY,
            labels=_ALL_BUT_PSYCHOTHERAPY,
            fields=fields,
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
    )
)

_FRONT_DESK = (
    Rule(
        role=Role.FRONT_DESK,
        resource=Resource.PATIENT,
        actions=_READ
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
        actions=frozenset({Action.CHANGE_LEGAL_HOLD}),
        relation=Relation.ANYBODY,
        labels=_ALL_BUT_PSYCHOTHERAPY,
        fields=PatientField.LEGAL_HOLD,
    ),
    Rule(
        role=Role.COMPLIANCE_OFFICER,
        resource=Resource.PATIENT,
        actions=frozenset({Action.DELETE, Action.OVERRIDE_RETENTION}),
        relation=Relation.ANYBODY,
        labels=_ALL_BUT_PSYCHOTHERAPY,
        fields=PatientField.REMOVAL,
    ),
    Rule(
        role=Role.COMPLIANCE_OFFICER,
        resource=Resource.BREAK_GLASS,
        actions=frozenset({Action.VIEW, Action.LIST, Action.REVIEW}),
        relation=Relation.ANYBODY,
    ),
)

_ADMINISTRATOR = (
    Rule(
        role=Role.ADMINISTRATOR,
        resource=Resource.PATIENT,
        actions=frozenset({Action.DELETE}),
        relation=Relation.ANYBODY,
        labels=_ALL_BUT_PSYCHOTHERAPY,
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
    ),
    # 45 CFR 164.524(a)(1)(i): the right of access leaves out psychotherapy notes. 42 CFR 2.23: it needs no consent.
    Rule(
        role=Role.PATIENT,
        resource=Resource.PATIENT,
        actions=_READ,
        relation=Relation.SELF,
        labels=_ALL_BUT_PSYCHOTHERAPY,
        fields=_OWN_FIELDS,
    ),
    Rule(
        role=Role.PATIENT,
        resource=Resource.CONSENT,
        actions=frozenset({Action.LIST, Action.REGISTER, Action.WITHDRAW}),
        relation=Relation.SELF,
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
)

POLICY = Policy.of(RULES)
