"""What installed plugins cost: commands with 100 of them on the search path against the same commands with none.

Each is a distribution of its own with one torch-free descriptor, as pip would leave it. Then 20 that import torch:
`plugins doctor` must name each of them with the milliseconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks.measure import Case, Claim, Timing, take_turns
from benchmarks.report import Report

PLUGINS = 100
HEAVY = 20
EACH_MS = 2.0
"""What one plugin may cost `plugins list`, beside 1.3 times the time with none."""

DESCRIPTOR = """
from dataclasses import dataclass
from typing import Annotated
from annotated_types import Ge
from regplug.api import Regularizer, Stackable, hookimpl
{first}

@dataclass(frozen=True)
class Params:
    strength: Annotated[float, Ge(0), Stackable(off=0)] = 0.1
    "What the sum is multiplied with."

@hookimpl
def regplug_regularizers():
    yield Regularizer(
        name="{name}", target="{name}.impl:R", params=Params, summary="A penalty."
    )
"""


def install(site: Path, prefix: str, number: int, first: str = "") -> None:
    """Writes distributions with one descriptor each, as pip leaves them.

    Args:
        site: Folder for the search path.
        prefix: Of their names.
        number: How many.
        first: A line at the head of each descriptor module.
    """
    for each in range(number):
        name = f"{prefix}_{each:03d}"
        package, metadata = site / name, site / f"{name}-1.0.dist-info"
        package.mkdir(parents=True)
        metadata.mkdir()
        (package / "__init__.py").write_text(DESCRIPTOR.format(name=name, first=first))
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[regplug]\n{name} = {name}\n")


def regplug(*command: str, folder: Path, site: Path | None) -> Callable[[], subprocess.CompletedProcess[str]]:
    """Returns a call of the command line that must succeed, with a site on the search path or none."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("REGPLUG_", "MLFLOW_", "XDG_"))}
    path = {} if site is None else {"PYTHONPATH": str(site)}

    def go() -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "regplug", *command]
        done = subprocess.run(words, cwd=folder, env={**kept, **path}, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
        return done

    return go


def bench(repeats: int) -> Report:
    """Times both commands in turns, with and without plugins, and asks the doctor."""
    with tempfile.TemporaryDirectory() as place:
        folder, light, heavy = Path(place, "here"), Path(place, "light"), Path(place, "heavy")
        folder.mkdir()
        install(light, "light", PLUGINS)
        install(heavy, "heavy", HEAVY, first="import torch")
        commands = {
            "list": ("plugins", "list"),
            "run": ("run", "--epochs", "0", "--no-export", "--model", "linear"),
        }
        cases = [
            _case(f"{name}, {count}", command, folder, site)
            for name, command in commands.items()
            for count, site in ((f"{PLUGINS} plugins", light), ("none", None))
        ]
        timings = take_turns(cases, repeats)
        facts = _doctor(folder, heavy)
    full = timings[f"list, {PLUGINS} plugins"]
    timings["list, less 2 ms each"] = _less(full, PLUGINS * EACH_MS / 1000)
    claims = [
        Claim(case="list, less 2 ms each", over="list, none", limit=1.3),
        Claim(case=f"list, {PLUGINS} plugins", over="list, none"),
        Claim(case=f"run, {PLUGINS} plugins", over="run, none", limit=1.1),
    ]
    return Report(name="plugins", timings=timings, claims=claims, facts=facts)


def _case(name: str, command: tuple[str, ...], folder: Path, site: Path | None) -> Case:
    call = regplug(*command, folder=folder, site=site)
    return Case(name=name, prepare=lambda: call)


def _less(timing: Timing, seconds: float) -> Timing:
    name, note = "list, less 2 ms each", f"the same measurement less {1000 * seconds:.0f} ms"
    wall, cpu = ([one - seconds for one in each] for each in (timing.wall_s, timing.cpu_s))
    return replace(timing, name=name, note=note, wall_s=wall, cpu_s=cpu)


def _doctor(folder: Path, heavy: Path) -> list[str]:
    """What the doctor says of plugins that import torch.

    Raises:
        RuntimeError: One of them is not named, or without its milliseconds.
    """
    document = json.loads(regplug("plugins", "doctor", "--json", folder=folder, site=heavy)().stdout)
    costs = {one["distribution"]: _torch_ms(one) for one in document["plugins"] if "torch" in one["heavy_imports"]}
    named = {one["distribution"] for one in document["problems"] if one["what"] == "heavy_import"}
    missing = [f"heavy_{each:03d}" for each in range(HEAVY) if not costs.get(f"heavy_{each:03d}")]
    if missing or len(named) != HEAVY:
        raise RuntimeError(f"plugins doctor does not name {', '.join(missing) or 'all'} with its milliseconds.")
    dearest = max(costs.values())
    return [f"plugins doctor names {len(named)} of {HEAVY} plugins that import torch: {dearest:.0f} ms each alone"]


def _torch_ms(plugin: Mapping[str, object]) -> float:
    costs = plugin["heavy_ms"]
    return float(costs.get("torch", 0)) if isinstance(costs, dict) else 0.0
