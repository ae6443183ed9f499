"""First-party initializers."""
