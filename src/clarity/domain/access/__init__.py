"""Who may do what: the actors, the one policy, and the two steps in which it decides.

Before a record is opened, `decide` answers from what stands outside the seal. After it is opened, the exact label and
the fields to show are known: `Scope.after_opening`. Every path of the system asks here and nowhere else.
"""

from clarity.domain.access.actors import (
    ANONYMOUS,
    INDEXER,
    OPERATOR,
    SENDER,
    USUAL_PURPOSE,
    WATCH,
    Action,
    Actor,
    Purpose,
    Reason,
    Relation,
    Role,
    nobody,
    of_system,
)
from clarity.domain.access.consents import PART2_NOTICE, Consent, ConsentRegister
from clarity.domain.access.decisions import (
    Decision,
    Scope,
    decide,
    relations_of,
    right_to,
    scope_of,
)
from clarity.domain.access.policy import POLICY, RULES
from clarity.domain.access.rules import NO_FIELDS, Cell, Policy, Right, Rule

__all__ = [
    "ANONYMOUS",
    "INDEXER",
    "NO_FIELDS",
    "OPERATOR",
    "PART2_NOTICE",
    "POLICY",
    "RULES",
    "SENDER",
    "USUAL_PURPOSE",
    "WATCH",
    "Action",
    "Actor",
    "Cell",
    "Consent",
    "ConsentRegister",
    "Decision",
    "Policy",
    "Purpose",
    "Reason",
    "Relation",
    "Right",
    "Role",
    "Rule",
    "Scope",
    "decide",
    "nobody",
    "of_system",
    "relations_of",
    "right_to",
    "scope_of",
]
