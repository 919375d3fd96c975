"""The use-cases, one service for each feature, and the ports they need. No framework, no cryptography."""
