"""First-party activations."""
