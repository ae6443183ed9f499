"""The schema of `manifest.json` and `verification.json`: the type of every field, and how fields depend on each other.

Both written and read files are checked against it. Standard library only.
"""

from __future__ import annotations

import re
import reprlib
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

TASKS = ("classification", "multilabel", "regression")
_ENDING = {"classification": "softmax", "multilabel": "sigmoid"}
RANKS = {"image": 4, "row": 2}
"""Layout -> number of axes of the input, including the batch axis; an `array` may have any."""

DTYPES = ("bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
DTYPES += tuple(f"float{bits}" for bits in (16, 32, 64))
_MASK_AXIS = re.compile(r"([1-9]\d{0,8}\*)?batch")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_WIDE = 2**31


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    Args:
        words: Description for messages.
        holds: Whether a value is of this kind.
    """

    words: str
    holds: Callable[[Any], bool]


@dataclass(frozen=True)
class Each:
    """A list, or a mapping with string keys, of values of one form."""

    form: Form
    is_mapping: bool = False
    least: int = 0


@dataclass(frozen=True)
class Fields:
    """A mapping with these keys.

    Args:
        needed: Form of each required key.
        other: Form of each optional key.
        is_open: Whether further keys of any form are allowed.
    """

    needed: Mapping[str, Form]
    other: Mapping[str, Form]
    is_open: bool = False


Form: TypeAlias = Kind | Each | Fields


def is_whole(value: Any, least: int = 1) -> bool:
    """Returns whether a value is an integer, and not a boolean."""
    return type(value) is int and least <= value < _MOST_WIDE


def is_number(value: Any) -> bool:
    """Returns whether a value is a number that fits into a float."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def is_plain_name(value: Any) -> bool:
    """Returns whether a value is the name of a file in the folder itself."""
    return isinstance(value, str) and value not in ("", ".", "..") and not re.search(r"[/\\\x00-\x1f]", value)


def _is_range(value: Any) -> bool:
    is_pair = isinstance(value, list) and len(value) == 2 and all(map(is_number, value))
    return value is None or (is_pair and bool(value[0] < value[1]))


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 1 and value[0] == "batch" and all(map(is_whole, value[1:]))


def _is_mask(value: Any) -> bool:
    return isinstance(value, list) and all(
        _MASK_AXIS.fullmatch(axis) if isinstance(axis, str) else is_whole(axis) for axis in value
    )


def one_of(*words: str) -> Kind:
    """Returns the kind of a value that is one of these words."""
    return Kind(" or ".join(repr(word) for word in words), lambda value: isinstance(value, str) and value in words)


def _matching(pattern: re.Pattern[str], words: str) -> Kind:
    return Kind(words, lambda value: isinstance(value, str) and bool(pattern.fullmatch(value)))


TEXT = Kind("a text", lambda value: isinstance(value, str))
NAME = Kind("a text that is not empty", lambda value: isinstance(value, str) and bool(value))
TEXT_OR_NULL = Kind("a text or null", lambda value: value is None or isinstance(value, str))
TRUTH = Kind("true or false", lambda value: isinstance(value, bool))
COUNT = Kind("a whole number of at least 1", is_whole)
COUNT_OR_NULL = Kind("a whole number or null", lambda value: value is None or is_whole(value))
NUMBER = Kind("a finite number", is_number)
NUMBER_OR_NULL = Kind("a finite number or null", lambda value: value is None or is_number(value))
SHA256 = _matching(_SHA256, "64 hexadecimal digits")
RANGE = Kind("null or [least, greatest]", _is_range)
SHAPE = Kind('["batch", whole numbers]', _is_shape)

_LAYER = Fields(
    {
        "name": TEXT,
        "kind": NAME,
        "rate": Kind("a number between 0 and 1", lambda value: is_number(value) and 0 < value < 1),
        "mask": Kind("a list of whole numbers and 'batch'", _is_mask),
    },
    {},
)
STOCHASTIC = Fields(
    {"kind": one_of("mc_dropout"), "layers": Each(_LAYER, least=1), "not_live": Each(TEXT), "passes": COUNT}, {}
)
"""The form of `stochastic`."""

_PREPARATION = Fields(
    {
        "missing": Each(TEXT),
        "columns": Each(Fields({"name": TEXT, "kind": one_of("number", "category")}, {}, is_open=True), least=1),
        "rows": Each(Each(TEXT)),
    },
    {},
)
_PREPARED = {
    "category": Fields({"name": TEXT, "kind": NAME, "categories": Each(TEXT)}, {}),
    "number": Fields(
        {
            "name": TEXT,
            "kind": NAME,
            "indicator": TRUTH,
            "grid": Each(NUMBER),
            "scores": Each(NUMBER),
            **dict.fromkeys(("fill", "shift"), NUMBER),
            "scale": Kind("a number that is not 0", lambda value: is_number(value) and value != 0),
        },
        {},
    ),
}
_MAY_LOSE = Fields(
    dict.fromkeys(("relative_error", "agreement", "accuracy", "mse"), NUMBER)
    | {"not_asked": Each(TEXT, is_mapping=True)},
    {},
)
_PLAIN_NAME = Kind("a plain file name", is_plain_name)
_FILE = Fields(
    {"format": NAME},
    {"opset": COUNT, "ir_version": COUNT, "may_lose": _MAY_LOSE, "weights": _PLAIN_NAME, "largest_batch": COUNT},
    is_open=True,
)
_MEMBER = Fields({"run_id": NAME, "state_sha256": SHA256}, {"run_name": TEXT}, is_open=True)
_PLUGIN = Fields(dict.fromkeys(("kind", "name", "distribution", "version"), TEXT), {})

_METRIC = Fields(
    {"name": NAME, **dict.fromkeys(("value", "low", "high", "confidence"), NUMBER), "rows": COUNT},
    {},
)
_ROUNDING = 1e-9
_SHARE = Kind("a number between 0 and 1", lambda value: is_number(value) and 0 < value < 1)
_ABOVE_ZERO = Kind("a number above 0", lambda value: is_number(value) and value > 0)
_SCALED = dict.fromkeys(("nll_before", "nll_after", "ece_before", "ece_after"), NUMBER)
_COVERED = dict.fromkeys(("coverage", "low", "high", "confidence", "mean_size"), NUMBER)
_CALIBRATED = {"temperature": ("classification",), "conformal": ("classification", "regression")}
"""Kind of a calibration -> the tasks that have it."""
_ADDED = Fields({"name": NAME, "shape": Kind("a list", lambda value: isinstance(value, list)), "dtype": NAME}, {})
_CALIBRATION = {
    "temperature": Fields(
        {"kind": NAME, "temperature": _ABOVE_ZERO, "rows": COUNT},
        {"test": Each(Fields({"rows": COUNT, **_SCALED}, {}), least=1)},
    ),
    "conformal": Fields(
        {
            "kind": NAME,
            "method": one_of("lac", "absolute_residual"),
            "coverage": _SHARE,
            "rows": COUNT,
            "thresholds": Each(NUMBER, least=1),
            "output": _ADDED,
        },
        {"test": Each(Fields({"rows": COUNT, **_COVERED}, {}), least=1)},
    ),
}

MANIFEST_FORM = Fields(
    {
        "schema_version": COUNT,
        "task": one_of(*TASKS),
        "num_outputs": COUNT,
        "class_names": Each(TEXT),
        "input": Fields(
            {
                "name": NAME,
                "layout": one_of("image", "row", "array"),
                "dtype": one_of(*DTYPES),
                "shape": SHAPE,
                "range": RANGE,
            },
            {},
        ),
        "output": Fields({"name": NAME, "shape": SHAPE, "dtype": one_of("float32")}, {}),
        "baked_in": Each(TEXT, least=1),
        "stochastic": Kind("null or a mapping", lambda value: value is None or isinstance(value, dict)),
        "files": Each(_FILE, is_mapping=True, least=1),
        "opset": COUNT_OR_NULL,
        "ir_version": COUNT_OR_NULL,
        "state_sha256": SHA256,
        "versions": Each(TEXT, is_mapping=True, least=1),
    },
    {
        "calibration": Kind("null or a mapping", lambda value: value is None or isinstance(value, dict)),
        "column_names": Each(TEXT),
        "config": Fields({}, {"model": TEXT, "dataset": TEXT, "reg": Each(TEXT)}, is_open=True),
        "dataset": Fields({"name": TEXT, "digest": TEXT}, {}, is_open=True),
        "license": NAME,
        "members": Each(_MEMBER, least=2),
        "metrics": Each(_METRIC),
        "plugins": Each(_PLUGIN),
        "preparation": Kind("null or a mapping", lambda value: value is None or isinstance(value, dict)),
        "run_id": TEXT_OR_NULL,
    },
    is_open=True,
)
"""The form of a manifest; `manifest_fault` also checks relations between fields."""

_CHECK = Fields({"name": NAME, "passed": TRUTH, "figure": NUMBER_OR_NULL, "limit": NUMBER_OR_NULL, "detail": TEXT}, {})
REPORT_FORM = Fields({"passed": TRUTH, "checks": Each(_CHECK, least=1)}, {})
"""The form of a report."""


def manifest_fault(manifest: Any) -> str:
    """Returns what is wrong with a manifest, or an empty string."""
    found = next(faults(manifest, MANIFEST_FORM, ""), "")
    if not found and manifest["stochastic"] is not None:
        found = next(faults(manifest["stochastic"], STOCHASTIC, "stochastic"), "")
    if not found and manifest.get("calibration") is not None:
        found = next(calibration_faults(manifest, manifest["num_outputs"]), "")
    if not found and manifest.get("preparation"):
        found = next(_preparation_faults(manifest["preparation"]), "")
    return found or next(_contradictions(manifest), "")


def report_fault(document: Any) -> str:
    """Returns what is wrong with a report, or an empty string."""
    found = next(faults(document, REPORT_FORM, ""), "")
    if found:
        return found
    failed = sum(not check["passed"] for check in document["checks"])
    if document["passed"] != (not failed):
        return f"passed is {str(document['passed']).lower()}, and {failed} checks failed"
    twice = repeated(check["name"] for check in document["checks"])
    return f"checks has {twice} twice" if twice else ""


def faults(value: Any, form: Form, where: str) -> Iterator[str]:
    """Yields everything that does not have its form, depth first."""
    if isinstance(form, Kind):
        if not form.holds(value):
            yield f"{where} must be {form.words}, but is {reprlib.repr(value)}"
    elif isinstance(form, Each):
        yield from _faults_of_each(value, form, where)
    elif not isinstance(value, dict):
        yield f"{where or 'it'} must be a mapping, but is {reprlib.repr(value)}"
    else:
        known = {**form.other, **form.needed}
        yield from (f"{_inside(where, key)} is missing" for key in form.needed if key not in value)
        if not form.is_open:
            yield from (f"{_inside(where, key)} is an unknown key" for key in value if key not in known)
        for key in value:
            if key in known:
                yield from faults(value[key], known[key], _inside(where, key))


def _faults_of_each(value: Any, form: Each, where: str) -> Iterator[str]:
    is_right = isinstance(value, dict if form.is_mapping else list)
    if not is_right or len(value) < form.least:
        words = ("a mapping" if form.is_mapping else "a list") + (" that is not empty" if form.least else "")
        yield f"{where} must be {words}, but is {reprlib.repr(value)}"
        return
    for key, item in value.items() if form.is_mapping else enumerate(value):
        yield from faults(item, form.form, f"{where}[{key!r}]")


def _inside(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _preparation_faults(part: Any) -> Iterator[str]:
    yield from faults(part, _PREPARATION, "preparation")
    for at, column in enumerate(part["columns"]):
        where = f"preparation.columns[{at}]"
        yield from faults(column, _PREPARED[column["kind"]], where)
        if column["kind"] == "number" and len(column["grid"]) != len(column["scores"]):
            yield f"{where}.grid has another length than its scores"
    width = len(part["columns"])
    yield from (
        f"preparation.rows[{at}] has not {width} cells" for at, row in enumerate(part["rows"]) if len(row) != width
    )


def calibration_faults(manifest: Mapping[str, Any], width: int) -> Iterator[str]:
    """Yields what is wrong with `calibration`.

    Args:
        manifest: The manifest, whose other fields have their forms.
        width: Number of classes or values.
    """
    part = manifest["calibration"]
    form = _CALIBRATION.get(str(part.get("kind")))
    if form is None:
        yield f"calibration.kind must be 'temperature' or 'conformal', but is {reprlib.repr(part.get('kind'))}"
        return
    yield from faults(part, form, "calibration")
    is_class = manifest["task"] == "classification"
    if manifest["task"] not in _CALIBRATED[part["kind"]] or manifest["stochastic"]:
        yield f"a {part['kind']} calibration contradicts the task {manifest['task']!r} or live dropout"
    if part["kind"] not in manifest["baked_in"]:
        yield f"baked_in does not name the calibration {part['kind']!r}"
    if part["kind"] == "conformal":
        added = ("lac", "sets", ["batch", width], "bool", 1)
        if not is_class:
            added = ("absolute_residual", "intervals", ["batch", width, 2], "float32", width)
        output = part["output"]
        found = (part["method"], output["name"], output["shape"], output["dtype"], len(part["thresholds"]))
        if found != added:
            yield f"calibration has {found}; of this {manifest['task']} it is {added}"


def _contradictions(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yields contradictions between fields."""
    task, width, names = manifest["task"], manifest["num_outputs"], manifest["class_names"]
    given, output = manifest["input"], manifest["output"]
    if names and task == "regression":
        yield f"a regression has no class names, but {len(names)} are given"
    if names and (len(names) != width or len(set(names)) != width):
        yield f"class_names holds {len(set(names))} names, and num_outputs is {width}"
    if output["shape"] != ["batch", width]:
        yield f"output.shape is {output['shape']}, and num_outputs is {width}"
    wanted = output_kind(manifest)
    if output["name"] != wanted:
        yield f"output.name is {output['name']!r}; of this {task} it is {wanted!r}"
    if given["name"] == output["name"]:
        yield f"input and output are both named {given['name']!r}"
    if len(given["shape"]) != RANKS.get(given["layout"], len(given["shape"])):
        yield f"input.shape is {given['shape']}, and the layout is {given['layout']!r}"
    columns = manifest.get("column_names") or ()
    if columns and given["layout"] == "row" and given["shape"] != ["batch", len(columns)]:
        yield f"column_names holds {len(columns)} names, and input.shape is {given['shape']}"
    yield from figure_contradictions(manifest)
    yield from file_contradictions(manifest)


def figure_contradictions(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yields figures outside of their own intervals, and a coverage that so few rows cannot promise."""
    part = manifest.get("calibration") or {}
    covered = [("coverage", one) for one in part.get("test", ()) if "coverage" in one]
    for key, one in [("value", one) for one in manifest.get("metrics", ())] + covered:
        if not one["low"] - _ROUNDING <= one[key] <= one["high"] + _ROUNDING:
            name = one.get("name", "calibration.test")
            yield f"{name} is {one[key]:g}, outside of its interval from {one['low']:g} to {one['high']:g}"
    if "coverage" in part and (part["rows"] + 1) * part["coverage"] - _ROUNDING > part["rows"]:
        yield f"calibration.coverage is {part['coverage']:g}, which {part['rows']} rows are too few to promise"


def output_kind(manifest: Mapping[str, Any]) -> str:
    """Returns what the first output holds: `logits`, `probabilities` or `values`; an empty text without a task."""
    task = manifest["task"]
    if task is None:
        return ""
    if task == "regression":
        return "values"
    return "probabilities" if _ENDING[task] in manifest["baked_in"] else "logits"


def file_contradictions(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yields contradictions between `files`, `opset` and `ir_version`."""
    files = manifest["files"]
    odd = (name for name in files if not is_plain_name(name))
    yield from (f"files names {reprlib.repr(name)}, which is not a plain file name" for name in odd)
    weights = [facts["weights"] for facts in files.values() if "weights" in facts]
    same = repeated([*files, *weights])
    if same:
        yield f"files names {same!r} twice"
    twice = repeated(facts["format"] for facts in files.values())
    if twice:
        yield f"two files have the format {twice!r}"
    for key in ("opset", "ir_version"):
        found = {facts[key] for facts in files.values() if key in facts} or {None}
        if manifest[key] not in found:
            yield f"{key} is {manifest[key]}, and that of no file"


def repeated(words: Iterable[str]) -> str:
    """Returns a word that occurs twice, or an empty string."""
    return next((word for word, count in Counter(words).items() if count > 1), "")
