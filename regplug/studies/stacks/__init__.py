"""The training of a study's runs: which are stacked, how many at once, and how long that takes."""
