"""What value objects share: they hide their content from `repr`, and they say which rule was broken."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from clarity.domain.errors import Invalid

MAX_TEXT = 1_000
MAX_ITEMS = 100
MAX_INTEGER = 2**31 - 1
"""The greatest FHIR `integer` (FHIR R4, 2.24.0.1)."""

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class Confidential:
    """A value whose content must not appear in a log or traceback; mix into a dataclass with `repr=False`."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Name the type and nothing it holds."""
        return f"<{type(self).__name__}>"


def require_text(field: str, text: str, *, at_most: int = MAX_TEXT) -> None:
    """Raise `Invalid` unless `text` is printable, has something besides spaces, and is at most `at_most` characters."""
    if not text or text.isspace():
        raise Invalid(field, "must not be empty")
    allow_text(field, text, at_most=at_most)


def allow_text(field: str, text: str, *, at_most: int = MAX_TEXT) -> None:
    """Raise `Invalid` if `text` is longer than `at_most` characters or holds a control character or lone surrogate.

    Tabs and line ends are text; NUL is not storable on PostgreSQL, and a lone surrogate has no UTF-8 form.
    """
    if len(text) > at_most:
        raise Invalid(field, f"must be at most {at_most} characters")
    if not text.isprintable() and _FORBIDDEN.search(text):
        raise Invalid(field, "must not contain control characters")


def allow_texts(field: str, texts: tuple[str, ...], *, at_most: int = MAX_TEXT) -> None:
    """Raise `Invalid` as `allow_text` does, naming the first of several texts that breaks the rule by its position."""
    for position, text in enumerate(texts):
        # Most are well, and their names are made for nobody: every record that is opened has some.
        if len(text) > at_most or not text.isprintable():
            allow_text(f"{field}.{position}", text, at_most=at_most)


def require_few(field: str, items: tuple[object, ...], *, at_most: int = MAX_ITEMS) -> None:
    """Raise `Invalid` if there are more than `at_most` items."""
    if len(items) > at_most:
        raise Invalid(field, f"must have at most {at_most} entries")


@contextmanager
def within(field: str) -> Iterator[None]:
    """Let an `Invalid` raised inside name its field from `field` on."""
    try:
        yield
    except Invalid as exc:
        raise exc.within(field) from None
