"""Prints the lowest version of each dependency that pyproject.toml allows, as constraints for pip."""

import re
import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
bounds = [*project["dependencies"], *project["optional-dependencies"]["test"]]
# Constraints have no extras: psycopg[binary]>=3.2 becomes psycopg==3.2.
sys.stdout.writelines(re.sub(r"\[.*\]", "", bound).replace(">=", "==") + "\n" for bound in bounds)
