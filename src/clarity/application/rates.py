"""What every request counts for, whatever it asks."""

REQUESTS_FROM_ADDRESS = "requests-from-address"
"""Requests from one network, whoever sends them. A whole practice may be behind one address."""

REQUESTS_OF_ACCOUNT = "requests-of-account"
"""Requests of one account, of a person or a machine, wherever they come from."""
