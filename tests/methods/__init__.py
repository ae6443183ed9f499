"""Published methods, each written twice: as a plugin on the public contract and as a loop in plain torch."""
