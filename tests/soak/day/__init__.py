"""A day of a practice in an hour: whether a server holds for long what it holds for seconds. See `__main__.py`."""
