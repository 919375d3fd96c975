"""Validation of whole resources, all types and all elements, for `--strict`."""

import json
from collections.abc import Callable
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from clarity.domain.errors import Invalid, Misconfigured

Check = Callable[[str, bytes], None]
"""Raises `Invalid` unless a resource of that type (its name in FHIR) is valid as a whole."""

_RULES = {
    "extra_forbidden": "has an element that FHIR does not define",
    "missing": "is missing",
    "value_error": "breaks a rule of FHIR R4",
}


def allow_all(_resource_type: str, _resource: bytes) -> None:
    """Check nothing beyond what is mapped."""


def strict_check() -> Check:
    """Return the check of whole resources by `fhir.resources`. Raises `Misconfigured` if that is not installed.

    It is R4B, which takes R4 but for a few types that it removed. It does not know which codes a required
    binding allows; what is mapped is checked for that in any case.
    """
    try:
        models: Any = import_module("fhir.resources.R4B")
    except ImportError:
        raise Misconfigured("strict import needs the package fhir.resources: pip install 'clarity[strict]'") from None

    def check(resource_type: str, resource: bytes) -> None:
        try:
            model = models.get_fhir_model_class(resource_type)
        except ValueError:
            raise Invalid("resourceType", "was removed from FHIR in R4B, so it cannot be checked") from None
        try:
            model.model_validate(json.loads(resource))
        except ValidationError as exc:
            raise _without_values(exc) from None
        except RecursionError:
            raise Invalid("", "is nested too deeply") from None

    return check


def _without_values(error: ValidationError) -> Invalid:
    """Return the place and the kind of the first error. A name that FHIR does not define may be content: left out."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    kind = first["type"].rpartition(".")[2]
    path = first["loc"][:-1] if kind == "extra_forbidden" else first["loc"]
    return Invalid(".".join(map(str, path)), _RULES.get(kind, "has the wrong type or form"))
