"""The trail: canonical events, certified one by one and made durable many at a time."""
