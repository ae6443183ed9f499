"""Prints the lowest version of each dependency that pyproject.toml allows, as constraints for pip."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
bounds = [*project["dependencies"], *project["optional-dependencies"]["test"]]
sys.stdout.writelines(bound.replace(">=", "==") + "\n" for bound in bounds)
