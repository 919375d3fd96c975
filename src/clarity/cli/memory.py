"""What a command keeps in memory stays there: keys, and the records that it opened."""

import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4
"""From `linux/prctl.h`."""


def keep_to_memory() -> None:
    """Let a crash of this process leave no core file, and hand none to a program either.

    Such a program, named by `kernel.core_pattern`, is no file whose size a limit could bound; a process that is not
    dumpable is given to none (prctl(2), core(5)). Nor can others of the same user read its memory (ptrace(2)).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
