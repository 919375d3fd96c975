"""What the API is told by whoever starts it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

ROOT = "/api/v1"
"""Where everything begins that shows or changes something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiOptions:
    """What may differ between practices. `today` returns the calendar day in the practice."""

    today: Callable[[], date]
    title: str = "Clarity"
    max_body_bytes: int = 1_048_576
