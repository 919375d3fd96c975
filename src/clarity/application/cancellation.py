"""Whose a cancellation is."""

import asyncio


def is_of_this_task() -> bool:
    """Tell of a cancellation that was just caught whether it is meant for this task.

    If not, it is a driver's, which may cancel whoever waits for a connection that broke.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
