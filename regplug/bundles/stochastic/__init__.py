"""Bundles whose dropout stays live in inference (MC dropout): repeats differ, and the checks are made for that.

torch is needed in `layers` and `reference` alone; a bundle is proven again with numpy.
"""
