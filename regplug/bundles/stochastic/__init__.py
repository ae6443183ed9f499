"""Bundles with live dropout in inference (MC dropout): repeated outputs differ, so they have their own checks.

Only `layers` and `reference` need torch; verifying a bundle again needs only numpy.
"""
