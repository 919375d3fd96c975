"""What several rules of the policy share: sets of labels and of actions, and where a rule comes from."""

from typing import Final

from clarity.domain.access.actors import Action
from clarity.domain.records import Label

ORDINARY: Final = frozenset({Label.NORMAL, Label.RESTRICTED})
ALL_BUT_PSYCHOTHERAPY: Final = frozenset({Label.NORMAL, Label.RESTRICTED, Label.PART2})
READ: Final = frozenset({Action.VIEW, Action.LIST, Action.SEARCH})

BY_CONSENT: Final = "42 CFR 2.31 (consent), 2.32 (the notice that goes with the record)"
BY_CONSENT_OR_AUTHORISATION: Final = f"{BY_CONSENT}; 45 CFR 164.508(a)(2) (authorisation, for psychotherapy notes)"
BY_AUTHOR: Final = "45 CFR 164.501 (psychotherapy notes are kept apart, by who wrote them); 42 CFR 2.12(c)(3)"
IN_EMERGENCY: Final = "45 CFR 164.312(a)(2)(ii) (emergency access); 42 CFR 2.51 (medical emergencies)"
ACCOUNTING: Final = "45 CFR 164.528 (accounting of disclosures)"
AMENDMENT: Final = "45 CFR 164.526 (the right to have a record amended)"
OF_THE_OWN: Final = "45 CFR 164.524(a)(1)(i) (access, psychotherapy notes left out); 42 CFR 2.23 (no consent needed)"
