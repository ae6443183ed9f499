"""The checks, by kind and phase. Each is a named function of a `Subject` whose docstring names the bug it finds."""
