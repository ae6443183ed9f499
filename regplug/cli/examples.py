"""The example at the end of each `--help`."""

from __future__ import annotations

from collections.abc import Mapping

EXAMPLES: Mapping[str, str] = {
    "": "regplug run --reg dropout --model mlp",
    "run": "regplug run --reg dropout:drop_probability=0.2 --model mlp --epochs 20",
    "plan": "regplug plan --reg mixup --reg label_smoothing --model cnn",
    "sweep": "regplug sweep --grid reg=dropout,l2,mixup --best-of 3 --seeds 5",
    "cv": "regplug cv --grid reg=none,dropout,l2 --tune lr=0.1,0.2 --folds 5",
    "compare": "regplug compare digits/mlp --by reg",
    "lab": "regplug lab list",
    "lab list": "regplug lab list",
    "lab page": "regplug lab page --out lab.md",
    "lab run": "regplug lab run weight-decay --quick",
    "plugins": "regplug plugins list dropout",
    "plugins list": "regplug plugins list noise --kind regularizer",
    "plugins show": "regplug plugins show dropout",
    "plugins doctor": "regplug plugins doctor",
    "plugins new": "regplug plugins new my-regs --kind regularizer",
    "plugins check": "regplug plugins check dropout",
    "data": "regplug data show houses.csv",
    "data show": "regplug data show houses.csv --delimiter semicolon",
    "runs": "regplug runs list",
    "runs list": "regplug runs list",
    "runs show": "regplug runs show 1f0c2a9b",
    "runs resume": "regplug runs resume 1f0c2a9b",
    "runs delete": "regplug runs delete 1f0c2a9b",
    "runs clean": "regplug runs clean",
    "runs sync": "regplug runs sync",
    "plot": "regplug plot activations gelu silu",
    "plot activations": "regplug plot activations gelu silu",
    "ui": "regplug ui --port 5001",
    "export": "regplug export 1f0c2a9b --format onnx",
    "serve": "regplug serve bundles/1f0c2a9b --port 8000",
    "verify": "regplug verify bundles/1f0c2a9b",
    "predict": "regplug predict bundles/1f0c2a9b rows.csv",
    "inspect": "regplug inspect bundles/1f0c2a9b",
}
"""Command, without `regplug`, and an example of it."""
