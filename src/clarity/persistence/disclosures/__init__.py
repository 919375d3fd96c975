"""Disclosures outside the practice, and the events of the trail that they were made by."""
