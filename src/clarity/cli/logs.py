"""The log of a server: our own lines as they are, and of everybody else's what cannot carry content."""

import json
import logging
import re
import time
from typing import Any

_OURS = "clarity"
# What ends a line somewhere, or moves the cursor of a terminal: a record is one line, whatever stands in it.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class Guarded(logging.Formatter):
    """Formats a line for each record, without traceback.

    Our own messages are written so that they say nothing of anybody. Libraries put values into theirs, and `repr`s of
    exceptions: of those, only the words stand here that their programmers wrote, up to the first value.
    """

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        cause = _cause(record)
        ending = f" cause={cause}" if cause else ""
        return f"{self.formatTime(record)}Z {record.levelname} {record.name} {_message(record)}{ending}"


class GuardedJson(Guarded):
    """Formats a JSON object for each record, in one line, with the same guard.

    The keys are `time` (RFC 3339, UTC), `level`, `logger`, `message`, `cause` where there is one, and those that a
    message of ours consists of, such as `request`, `route` and `status`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields: dict[str, Any] = getattr(record, "fields", {}) if _is_ours(record) else {}
        line = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
            **fields,
        }
        if cause := _cause(record):
            line["cause"] = cause
        return json.dumps(line)


def log_to_standard_error(*, as_json: bool = False) -> None:
    """Write the log of this process to standard error: ours from INFO on, that of libraries from WARNING on."""
    handler = logging.StreamHandler()
    handler.setFormatter(GuardedJson() if as_json else Guarded())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger(_OURS).setLevel(logging.INFO)


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name == _OURS or record.name.startswith(f"{_OURS}.")


def _message(record: logging.LogRecord) -> str:
    return _CONTROLS.sub(" ", record.getMessage() if _is_ours(record) else _words(record))


def _cause(record: logging.LogRecord) -> str:
    kind = record.exc_info[0] if record.exc_info else None
    return f"{kind.__module__}.{kind.__qualname__}" if kind else ""


def _words(record: logging.LogRecord) -> str:
    words = str(record.msg).partition("\n")[0]
    for value in "%<({['\"":
        words = words.partition(value)[0]
    return words.rstrip()
