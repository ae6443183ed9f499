"""First-party regularizers."""
