"""Lists, a page at a time."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from clarity.domain.errors import Invalid

MAX_PAGE = 100
COUNTED_EXACTLY = 1_000
"""Up to here a total of patients is exact; whoever finds more people than that looks for somebody else."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Item]):
    """Some of a list. `next_cursor` is where the next page begins, or "" behind the last.

    `count` is how many there are in all that the caller may see; `exact` whether it is not only a lower bound.
    """

    items: tuple[Item, ...]
    next_cursor: str = ""
    count: int = 0
    exact: bool = True


def page_size(at_most: int, *, most: int = MAX_PAGE) -> int:
    """Return the size of a page, or raise `Invalid` if it is not from 1 to `most`."""
    if not 1 <= at_most <= most:
        raise Invalid("limit", f"must be from 1 to {most}")
    return at_most
