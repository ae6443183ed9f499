"""Benchmarks of regplug against hand-written code: `python -m benchmarks NAME`."""
