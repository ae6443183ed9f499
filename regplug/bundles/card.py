"""`README.md` of a bundle: a model card as Hugging Face reads it, written from the manifest and the files alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regplug.bundles.calibration.words import calibration_words
from regplug.bundles.card_programs import Program, programs_of
from regplug.bundles.formats import Array, parts_of
from regplug.bundles.layout import README, SAMPLE_INPUT, is_named, model_files, read_manifest, sha256_file
from regplug.bundles.named.card import named_input_lines, named_output_lines, named_programs, named_what

NO_LICENSE = "unknown"
_PIPELINES = {
    ("image", "classification"): "image-classification",
    ("row", "classification"): "tabular-classification",
    ("row", "regression"): "tabular-regression",
}
_LIBRARIES = {"onnx": "onnx", "torchscript": "pytorch", "pt2": "pytorch", "openvino": "openvino", "pte": "executorch"}
_UNIT = re.compile(r"[(\[]([^()\[\]]{1,30})[)\]]\s*$")
_MOST_COLUMNS = 200
_ADDED = {"conformal": "It is the last output of each file."}


def write_card(folder: Path, num_checks: int) -> None:
    """Writes the model card; every other file of the bundle except the checksums must be there.

    Args:
        folder: The bundle's folder.
        num_checks: Number of checks, all passed.
    """
    (folder / README).write_text(card_text(folder, read_manifest(folder), num_checks), encoding="utf-8")


def card_text(folder: Path, manifest: Mapping[str, Any], num_checks: int) -> str:
    """Returns the model card of a bundle.

    Args:
        folder: The bundle's folder.
        manifest: The manifest, as it is read from there.
        num_checks: Number of checks at export.
    """
    hashes = {name: sha256_file(folder / name) for name in model_files(manifest)}
    return "\n".join(_card(manifest, _rows(folder, manifest), hashes, num_checks))


def _rows(folder: Path, manifest: Mapping[str, Any]) -> Array | None:
    """Returns the real rows among the samples; `None` if there are several inputs."""
    if is_named(manifest):
        return None
    with np.load(folder / SAMPLE_INPUT) as samples:
        rows: Array = samples[manifest["input"]["name"]]
    return rows


def _card(manifest: Mapping[str, Any], rows: Array | None, hashes: Mapping[str, str], num_checks: int) -> Iterator[str]:
    yield from ("---", front_matter(manifest).rstrip(), "---", "", f"# {_cell(title_of(manifest))}", "")
    what = _what(manifest) if rows is not None else named_what(manifest)
    yield f"{what} regplug exported it, and {num_checks} checks of its files passed."
    if rows is not None:
        yield from ("", "## Input", "", *input_lines(manifest, rows))
        yield from ("", "## Output", "", output_words(manifest))
    else:
        yield from ("", "## Inputs", "", *named_input_lines(manifest))
        yield from ("", "## Outputs", "", *named_output_lines(manifest))
    part = manifest.get("calibration")
    if part:
        words = calibration_words(part)
        yield from ("", "## Calibration", "", f"{words[0].upper()}{words[1:]}. {_ADDED.get(part['kind'], '')}".strip())
    for program in programs_of(manifest) if rows is not None else named_programs(manifest):
        yield from ("", f"## {program.title}", "", *_listing(program))
    yield from ("", "## Metrics", "", *_metric_lines(manifest))
    yield from ("", "## Data", "", *_data_lines(manifest))
    yield from ("", "## Licence", "", license_words(manifest))
    yield from ("", "## Hashes", "", "| file | SHA-256 |", "|---|---|")
    yield from (f"| `{_cell(name)}` | `{digest}` |" for name, digest in hashes.items())
    yield from (f"| weights and buffers | `{manifest['state_sha256']}` |", "")
    yield "`sha256sum -c SHA256SUMS` checks all files, and `regplug verify .` also what they compute."
    yield ""


def front_matter(manifest: Mapping[str, Any]) -> str:
    """Returns the YAML at the head of the card."""
    import yaml

    task = manifest["task"]
    layouts = {part["layout"] for part in parts_of(manifest, "input")}
    pipeline = _PIPELINES.get((layouts.pop(), task)) if len(layouts) == 1 else None
    known: dict[str, Any] = {"license": manifest.get("license") or NO_LICENSE}
    names = [_LIBRARIES[facts["format"]] for facts in manifest["files"].values() if facts["format"] in _LIBRARIES]
    known["library_name"] = names[0] if names else "onnx"
    known |= {"pipeline_tag": pipeline} if pipeline else {}
    known["tags"] = ["regplug", *dict.fromkeys(facts["format"] for facts in manifest["files"].values())]
    known["tags"] += [task] if task else []
    if manifest.get("metrics"):
        known["metrics"] = [metric["name"] for metric in manifest["metrics"]]
        known["model-index"] = [_index(manifest, pipeline or task)]
    text: str = yaml.safe_dump(known, sort_keys=False, allow_unicode=True)
    return text


def _index(manifest: Mapping[str, Any], task: str) -> dict[str, Any]:
    name = _dataset(manifest)
    metrics = [
        {"type": one["name"], "name": f"test {one['name']}", "value": one["value"]} for one in manifest["metrics"]
    ]
    result = {"task": {"type": task}, "dataset": {"name": name, "type": name, "split": "test"}, "metrics": metrics}
    return {"name": title_of(manifest), "results": [result]}


def title_of(manifest: Mapping[str, Any]) -> str:
    """Returns a short title of the model."""
    config = manifest.get("config") or {}
    if manifest.get("members"):
        return f"Ensemble of {len(manifest['members'])} models on {_dataset(manifest)}"
    if "model" in config:
        return f"{config['model']} on {_dataset(manifest)}"
    return f"{manifest['task'].capitalize()} model" if manifest["task"] else "Model"


def _dataset(manifest: Mapping[str, Any]) -> str:
    members = manifest.get("members") or ()
    names = [(one.get("dataset") or {}).get("name") for one in (*members, manifest)]
    return next((name for name in names if name), "unnamed data")


def _what(manifest: Mapping[str, Any]) -> str:
    """Returns a sentence on what the model is."""
    task, names = manifest["task"], manifest["class_names"]
    words = {
        "classification": f"A classification of {manifest['num_outputs']} classes",
        "multilabel": f"A classification with {manifest['num_outputs']} labels, any of which may be present",
        "regression": f"A regression of {manifest['num_outputs']} value{'s' if manifest['num_outputs'] > 1 else ''}",
    }[task]
    shown = f": {_cell(', '.join(names[:20]))}{', ...' if len(names) > 20 else ''}" if names else ""
    config = manifest.get("config") or {}
    regs = _cell(", ".join(config.get("reg", []))) or "no regularizer"
    model = _cell(config.get("model", ""))
    trained = f" The model is `{model}`, trained with {regs}, seed {config.get('seed')}." if model else ""
    noise = " Its dropout is live: repeated outputs differ, and their spread tells how unsure it is."
    return f"{words}{shown}.{trained}{noise if manifest['stochastic'] else ''}"


def input_lines(manifest: Mapping[str, Any], rows: Array) -> Iterator[str]:
    """Yields the description of the input, with a line for each column of a row."""
    part = manifest["input"]
    shape = ", ".join(map(str, part["shape"]))
    limits = "" if part["range"] is None else f", {part['range'][0]:g} to {part['range'][1]:g}"
    yield f"`{part['name']}`: {part['dtype']} `({shape})`{limits}. {_raw_words(manifest)}"
    names = manifest.get("column_names") or ()
    if not names or part["layout"] != "row":
        return
    yield from ("", "| column | unit | in the sample rows |", "|---|---|---|")
    for at, name in list(enumerate(names))[:_MOST_COLUMNS]:
        low, high = float(rows[:, at].min()), float(rows[:, at].max())
        yield f"| {_cell(name)} | {unit_of(name)} | {low:.4g} to {high:.4g} |"
    if len(names) > _MOST_COLUMNS:
        yield f"| and {len(names) - _MOST_COLUMNS} more: `column_names` in manifest.json | | |"


def _raw_words(manifest: Mapping[str, Any]) -> str:
    if manifest.get("preparation"):
        return (
            "These are prepared numbers of a row of a table; `preparation` in manifest.json tells how they are made, "
            "and `regplug predict . new.csv` makes them."
        )
    if manifest["input"]["layout"] == "image":
        return "Pixels as stored in the image file, channels first. The file normalises them itself."
    return "Values as stored in the data. The file normalises them itself."


def unit_of(name: str) -> str:
    """Returns the unit in parentheses at the end of a column's name, or `as in the data`.

    >>> unit_of("petal length (cm)")
    'cm'
    """
    found = _UNIT.search(name)
    return _cell(found[1]) if found else "as in the data"


def output_words(manifest: Mapping[str, Any]) -> str:
    """Returns the description of the output."""
    name, names = manifest["output"]["name"], manifest["class_names"]
    order = f" Their order: {_cell(', '.join(names))}." if names else ""
    words = {
        "logits": "one logit for each class; their softmax is the probabilities",
        "probabilities": "one probability for each class",
        "values": "values in the units of the targets",
    }
    if manifest["task"] == "multilabel":
        words |= {"logits": "one logit for each label; its sigmoid is the probability"}
        words |= {"probabilities": "one probability for each label"}
    return f"`{name}`: float32 `(batch, {manifest['num_outputs']})`, {words.get(name, name)}.{order}"


def _listing(program: Program) -> Sequence[str]:
    return (f"```{program.language}", *program.lines, "```")


def _metric_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    metrics = manifest.get("metrics") or ()
    if not metrics:
        yield "Not measured: the bundle was exported without test rows."
        return
    yield from ("| metric on the test rows | value | 95 % interval | rows |", "|---|---|---|---|")
    for one in metrics:
        yield f"| {one['name']} | {one['value']:.4g} | {one['low']:.4g} to {one['high']:.4g} | {one['rows']:,} |"
    yield from ("", "The interval covers the choice of the test rows, not other seeds or other training rows.")


def _data_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    members = manifest.get("members") or [manifest]
    told = {(one["dataset"].get("name"), one["dataset"].get("digest")) for one in members if one.get("dataset")}
    for name, digest in sorted(told, key=str):
        yield f"Trained and tested on `{_cell(str(name))}`; SHA-256 of its rows: `{digest}`."
    if not told:
        yield "Unknown: the model was not trained by regplug."


def license_words(manifest: Mapping[str, Any]) -> str:
    """Returns the licence as the card has it."""
    license_id = manifest.get("license") or NO_LICENSE
    if license_id == NO_LICENSE:
        return "Unknown. Whoever exports the model may declare it: `regplug export RUN --license apache-2.0`."
    return f"`{_cell(license_id)}`"


def _cell(text: str) -> str:
    """Returns a name from the data such that it changes neither a table nor the page."""
    plain = " ".join(text.split())
    for mark, written in {"\\": "\\\\", "|": "\\|", "<": "&lt;", "`": "'"}.items():
        plain = plain.replace(mark, written)
    return plain
