"""`python -m regplug`."""

from __future__ import annotations

from regplug.cli import main

main()
