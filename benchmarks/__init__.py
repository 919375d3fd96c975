"""What Clarity costs and carries, measured: one module for each question, `python -m benchmarks.NAME`."""
