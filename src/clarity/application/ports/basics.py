"""The clock, and where ids come from."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

Clock = Callable[[], datetime]
"""Returns the present instant, in UTC."""

NewId = Callable[[], UUID]
"""Returns a UUIDv7 (RFC 9562, 5.7) nobody has had before."""
