"""The log of a server: our own lines as they are, and of everybody else's what cannot carry content."""

import logging
import time

_OURS = "clarity"


class Guarded(logging.Formatter):
    """Formats a line for each record, without traceback.

    Our own messages are written so that they say nothing of anybody. Libraries put values into theirs, and `repr`s of
    exceptions: of those, only the words stand here that their programmers wrote, up to the first value.
    """

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        is_ours = record.name == _OURS or record.name.startswith(f"{_OURS}.")
        message = record.getMessage() if is_ours else _words(record)
        kind = record.exc_info[0] if record.exc_info else None
        cause = f" cause={kind.__module__}.{kind.__qualname__}" if kind else ""
        return f"{self.formatTime(record)}Z {record.levelname} {record.name} {message}{cause}"


def log_to_standard_error() -> None:
    """Write the log of this process to standard error: ours from INFO on, that of libraries from WARNING on."""
    handler = logging.StreamHandler()
    handler.setFormatter(Guarded())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger(_OURS).setLevel(logging.INFO)


def _words(record: logging.LogRecord) -> str:
    words = str(record.msg).partition("\n")[0]
    for value in "%<({['\"":
        words = words.partition(value)[0]
    return words.rstrip()
