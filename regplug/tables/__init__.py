"""Tables of numbers and categories: read, looked at, and turned into the numbers that a network takes. No torch."""
