"""The one loop, for one run or many stacked; it yields records and prints nothing."""
