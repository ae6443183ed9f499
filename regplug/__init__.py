"""regplug: which regularization makes a model generalise best, how sure is that, and the winner as a proven file."""

__version__ = "0.1.0"
