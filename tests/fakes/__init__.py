"""In-memory adapters. The contract suite holds them to the same promises as the real ones."""
