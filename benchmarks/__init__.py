"""What regplug costs, against code written by hand: `python -m benchmarks NAME`."""
