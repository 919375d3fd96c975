"""`make soak`: faults under load, and a judge of what clients were told against what is stored (ADR 0032)."""
