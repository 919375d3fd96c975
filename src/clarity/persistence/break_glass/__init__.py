"""Broken glass: its table and what the policy asks of it, and its repository."""
