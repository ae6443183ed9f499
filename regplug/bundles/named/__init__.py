"""Bundles with several named inputs and outputs, or with symbolic axes besides the batch; their manifest has version 2.

All checks of outputs are those of other bundles. For them, the arrays of a row are packed into one row of numbers, and
each output is compared separately, at several sizes of the symbolic axes.
"""
