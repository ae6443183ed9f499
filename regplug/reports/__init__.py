"""Figures, and the HTML report of a study: one file that loads nothing."""
