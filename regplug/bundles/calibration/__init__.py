"""Calibrated bundles: a temperature, or a conformal threshold, fitted on validation rows and measured on test rows.

`fitting` computes the numbers, `request` says what cannot be calibrated, `graph` puts them into the network, `checks`
compares the saved files with them, and `answers` makes prediction sets and intervals from outputs, with numpy alone.
"""
