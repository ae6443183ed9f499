"""One run, from its configuration or the caller's objects to a tracked, exported result."""
