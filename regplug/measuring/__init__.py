"""Metrics of finished outputs, and the final metrics of a run."""
