"""The comparison of tracked runs: which can be ranked together, by which settings, and the result."""
