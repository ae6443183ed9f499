"""`python -m benchmarks [NAME...]`: times regplug against hand-written code; exit code 1 if a limit is exceeded."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping

import torch

from benchmarks.report import as_json, as_text

BENCHMARKS: Mapping[str, str] = {
    "run-mlp": "an epoch of a multilayer perceptron with dropout on MNIST; needs REGPLUG_DATA_DIR",
    "run-small": "the 400 steps of linear_regression",
    "host-overhead": "run-mlp with identities composed, and with l2 + clip_norm + max_norm",
    "probe-cost": "run-mlp with gradients and dead units measured after the epoch; needs REGPLUG_DATA_DIR",
    "start": "whole processes against the imports that they need",
    "many-runs": "runs list in a store of 5,000 runs, beyond its imports",
    "checkpoints": "a run and a study with checkpoints, against the same without",
    "plugins": "plugins list and run --epochs 0 with 100 plugins installed and with none",
    "export": "from trained model to verified bundle against torch.onnx.export alone; a file's inference against "
    "eager's",
    "serving": "requests per second of regplug serve and of mlflow models serve on the same model",
    "sweep-small": "128 runs of linear_regression stacked, and the whole command with tracking",
    "sweep-mlp": "32 runs of a small perceptron stacked, and of a larger on MNIST as planned; needs REGPLUG_DATA_DIR",
}


def main() -> int:
    """Runs the named benchmarks, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="; ".join(f"{name}: {what}" for name, what in BENCHMARKS.items())
    )
    parser.add_argument("--json", action="store_true", help="print all measurements as JSON")
    parser.add_argument("--repeats", type=int, default=5, help="number of turns; each times every case once")
    parser.add_argument("--threads", type=int, default=0, help="threads that torch may use; 0 keeps torch's default")
    asked = parser.parse_args()
    unknown = sorted(set(asked.names) - set(BENCHMARKS))
    if unknown or asked.repeats < 1:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(BENCHMARKS)}" if unknown else "--repeats >= 1")
    if asked.threads:
        torch.set_num_threads(asked.threads)
    reports = []
    for name in asked.names or BENCHMARKS:
        module = importlib.import_module(f"benchmarks.{name.replace('-', '_')}")
        reports.append(module.bench(asked.repeats))
        print(as_json(reports[-1]) if asked.json else as_text(reports[-1]) + "\n", flush=True)
    return 0 if all(report.holds for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
