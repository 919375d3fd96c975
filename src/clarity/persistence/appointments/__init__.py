"""Appointments, and the days on which nobody has any."""
