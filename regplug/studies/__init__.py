"""Studies: a base run times a grid of settings, seeds and folds; runs that differ only in numbers are stacked."""
