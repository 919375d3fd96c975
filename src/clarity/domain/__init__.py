"""What the practice means by its words: entities, value objects, the policy and the errors. Standard library only."""
