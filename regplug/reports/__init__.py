"""Figures, and the HTML report of a study as one self-contained file."""
