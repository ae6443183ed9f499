"""The command line: the only room of typer and rich."""

from __future__ import annotations

from regplug.cli.app import main

__all__ = ["main"]
