"""Ways in which a bundle can contradict itself though every checksum holds, by name, with the check that finds each.

Each fault is planted into a copy of a proven bundle of ONNX and TorchScript that takes rows of four float32 numbers.
"""

from __future__ import annotations

import numpy as np
from planting import (
    INPUT,
    MANIFEST,
    OUTPUT,
    REPORT,
    SUMS,
    Plant,
    bomb,
    both_of,
    case_deleted,
    check_added,
    check_changed,
    checks_without,
    compressed,
    deep,
    deep_config,
    filled,
    huge,
    inputs,
    linked,
    manifest,
    nan_given,
    one_filled,
    outputs,
    packed_model,
    removed,
    replaced,
    report,
    scaled,
    summed_twice,
    text,
    tolerance,
    tolerance_times,
    updated,
    with_folder,
    with_payload,
    with_pipe,
    without_line,
    written,
)
from rewriting import change_json

FIVE_WIDE = both_of(
    updated("num_outputs", value=5),
    updated("output", "shape", value=["batch", 5]),
    updated("class_names", value=["a", "b", "c", "d", "e"]),
)
AS_REGRESSION = both_of(updated("task", value="regression"), updated("class_names", value=[]))

SAMPLES: dict[str, tuple[Plant, str]] = {
    "a tolerance of 1e9": (tolerance(1e9), "samples.tolerances"),
    "an infinite tolerance": (tolerance(np.inf), "samples.tolerances"),
    "a tolerance that is NaN": (tolerance(np.nan), "samples.tolerances"),
    "a negative tolerance": (tolerance(-1e-6), "samples.tolerances"),
    "no tolerance": (tolerance(0.0), "samples.tolerances"),
    "an infinite tolerance of zeros": (tolerance(np.inf, ".zeros"), "samples.tolerances"),
    "a tolerance of 1 for varied rows": (tolerance(1.0, ".varied"), "samples.tolerances"),
    "a tolerance of 100 for large numbers": (tolerance(100.0, ".large"), "samples.tolerances"),
    "a tolerance a thousand times too wide": (tolerance_times(1e3), "samples.tolerances"),
    "a tolerance for normal numbers far too wide": (tolerance_times(1e4, ".normal"), "samples.tolerances"),
    "a tolerance beside NaN that is 1e9": (tolerance(1e9, ".nonfinite"), "samples.tolerances"),
    "no answers on real rows": (filled("logits", np.nan), "samples.outputs"),
    "one infinite answer on a real row": (outputs(one_filled), "samples.outputs"),
    "no answers on zeros": (filled("logits.zeros", np.nan), "onnx.numbers.all.zeros"),
    "no answers on normal numbers": (filled("logits.normal", np.inf), "torchscript.numbers.disabled.normal"),
    "no answers on varied rows": (filled("logits.varied", np.nan), "onnx.numbers.all.varied"),
    "no answers on large numbers": (filled("logits.large", np.nan), "onnx.numbers.disabled.large"),
    "no answers beside NaN": (filled("logits.nonfinite", np.nan), "samples.outputs"),
    "answers of another row beside NaN": (outputs(scaled), "samples.outputs"),
    "the case of zeros deleted": (case_deleted("zeros"), "samples.arrays"),
    "the case of varied rows deleted": (case_deleted("varied"), "samples.arrays"),
    "the case beside NaN deleted": (case_deleted("nonfinite"), "samples.arrays"),
    "a tolerance deleted": (outputs(lambda arrays: arrays.pop("tolerance.large")), "samples.arrays"),
    "an array more": (outputs(lambda arrays: arrays.update(more=np.zeros(3))), "samples.arrays"),
    "an answer more for each row": (
        outputs(lambda arrays: arrays.update(logits=np.zeros((64, 4), np.float32))),
        "samples.arrays",
    ),
    "answers of 64 bits": (
        outputs(lambda arrays: arrays.update(logits=arrays["logits"].astype(np.float64))),
        "samples.arrays",
    ),
    "three real rows": (replaced("input", lambda arrays: arrays["input"][:3]), "samples.arrays"),
    "rows of five numbers": (replaced("input", lambda arrays: np.zeros((64, 5), np.float32)), "samples.arrays"),
    "objects for real rows": (
        replaced("input", lambda arrays: np.array([[{}] * 4] * 64, dtype=object)),
        "samples.arrays",
    ),
    "zeros in place of normal numbers": (
        replaced("input.normal", lambda arrays: arrays["input.zeros"]),
        "samples.inputs",
    ),
    "normal numbers in place of large ones": (
        replaced("input.large", lambda arrays: arrays["input.normal"]),
        "samples.inputs",
    ),
    "no NaN beside the real rows": (replaced("input.nonfinite", lambda arrays: arrays["input"][:7]), "samples.inputs"),
    "varied rows that are all equal": (
        replaced("input.varied", lambda arrays: np.repeat(arrays["input"][:1], 33, 0)),
        "samples.inputs",
    ),
    "NaN in a real row": (inputs(nan_given), "samples.inputs"),
    "samples that are compressed": (compressed, "samples.arrays"),
    "an archive larger than its arrays": (bomb(2**26), "bundle.sizes"),
    "an array more, packed": (bomb(2**23), "samples.arrays"),
    "a packed array under an expected name": (bomb(2**23, "input.zeros"), "samples.arrays"),
    "zeros packed into a model file": (packed_model, "bundle.sizes"),
    "samples that are no archive": (lambda bundle: written(bundle, INPUT, b"PK?"), "samples.arrays"),
}


MANIFESTS: dict[str, tuple[Plant, str]] = {
    "another number of outputs": (manifest(updated("num_outputs", value=4)), "bundle.schema"),
    "as many outputs as names, and not as the graph": (manifest(FIVE_WIDE), "samples.arrays"),
    "two class names of three": (manifest(updated("class_names", value=["iris", "rose"])), "bundle.schema"),
    "a class name twice": (manifest(updated("class_names", value=["iris", "rose", "rose"])), "bundle.schema"),
    "another task": (manifest(updated("task", value="regression")), "bundle.schema"),
    "another task without names": (manifest(AS_REGRESSION), "bundle.schema"),
    "another task and output": (
        manifest(both_of(AS_REGRESSION, updated("output", "name", value="values"))),
        "samples.arrays",
    ),
    "probabilities without a softmax": (manifest(updated("output", "name", value="probabilities")), "bundle.schema"),
    "a softmax that is not there": (
        manifest(updated("baked_in", value=["made_bundles.Normalize", "softmax"])),
        "bundle.schema",
    ),
    "another shape of the input": (manifest(updated("input", "shape", value=["batch", 5])), "bundle.schema"),
    "another type of the input": (manifest(updated("input", "dtype", value="float64")), "samples.arrays"),
    "another layout of the input": (manifest(updated("input", "layout", value="image")), "bundle.schema"),
    "another name of the input": (manifest(updated("input", "name", value="x")), "samples.arrays"),
    "a range that was not declared": (manifest(updated("input", "range", value=[0.0, 1.0])), "samples.inputs"),
    "a range of a trillion rows": (
        manifest(updated("input", "shape", value=["batch", 10**9, 10**3])),
        "bundle.schema",
    ),
    "an opset of no file": (manifest(updated("opset", value=18)), "bundle.schema"),
    "another opset of a file": (
        manifest(both_of(updated("opset", value=18), updated("files", "model.onnx", "opset", value=18))),
        "onnx.opset",
    ),
    "a file that says nothing of its opset": (
        manifest(both_of(updated("opset", value=None), removed("files", "model.onnx", "opset"))),
        "bundle.facts",
    ),
    "limits of a format that has none": (
        manifest(
            updated(
                "files",
                "model.onnx",
                "may_lose",
                value={"relative_error": 1.0, "agreement": 0.0, "accuracy": 1.0, "mse": 1.0, "not_asked": {}},
            )
        ),
        "bundle.facts",
    ),
    "a model file that is not listed": (manifest(removed("files", "model.ts")), "bundle.contents"),
    "a model file that is not there": (
        manifest(updated("files", "model.pt2", value={"format": "pt2"})),
        "bundle.contents",
    ),
    "a model file outside": (
        manifest(updated("files", "../model.pt2", value={"format": "pt2"})),
        "bundle.schema",
    ),
    "a model file that is the report": (manifest(updated("files", REPORT, value={"format": "pt2"})), "bundle.schema"),
    "two files of one format": (manifest(updated("files", "model.ts", "format", value="onnx")), "bundle.schema"),
    "formats exchanged": (
        manifest(
            both_of(
                updated("files", "model.ts", "format", value="pt2"),
                updated("files", "model.onnx", "format", value="torchscript"),
            )
        ),
        "torchscript.graph",
    ),
    "three column names of four": (manifest(updated("column_names", value=["a", "b", "c"])), "bundle.schema"),
    "noise that is not there": (
        manifest(updated("stochastic", value={"kind": "mc_dropout", "layers": [], "not_live": [], "passes": 512})),
        "bundle.schema",
    ),
    "a state without digest": (manifest(updated("state_sha256", value="0")), "bundle.schema"),
    "a version that is true": (manifest(updated("schema_version", value=True)), "bundle.schema"),
    "another licence than the card's": (manifest(updated("license", value="mit")), "bundle.readme"),
    "another model's manifest": (
        lambda bundle: change_json(bundle, MANIFEST, updated("state_sha256", value="0" * 64)),
        "onnx.manifest",
    ),
    "a manifest of many levels": (deep(MANIFEST), "bundle.schema"),
    "a configuration of many levels": (manifest(deep_config), "bundle.schema"),
    "a manifest of 20 MB": (manifest(updated("note", value="x" * 20_000_000)), "bundle.schema"),
    "a key twice": (text(MANIFEST, "{", '{"task": "regression",'), "bundle.schema"),
    "NaN in the manifest": (text(MANIFEST, "{", '{"note": NaN,'), "bundle.schema"),
    "a number beyond floats": (text(MANIFEST, "{", '{"note": 1e999,'), "bundle.schema"),
    "half a character": (text(MANIFEST, "{", '{"note": "\\ud800",'), "bundle.schema"),
}

REPORTS: dict[str, tuple[Plant, str]] = {
    "a report that says failed": (report(updated("passed", value=False)), "bundle.proven_at_export"),
    "a failed check in a report that passed": (check_changed("onnx.opset", passed=False), "bundle.proven_at_export"),
    "a report without checks": (report(updated("checks", value=[])), "bundle.proven_at_export"),
    "a report without the checks of ONNX": (checks_without("onnx."), "bundle.checks_at_export"),
    "a report without numbers": (checks_without(".numbers."), "bundle.checks_at_export"),
    "a report without mixed batches": (checks_without("mixed_batches"), "bundle.checks_at_export"),
    "a report without the clean process": (checks_without("clean_process"), "bundle.checks_at_export"),
    "a report without the answers' check": (checks_without("argmax"), "bundle.checks_at_export"),
    "a report without the model's checks": (checks_without("model."), "bundle.checks_at_export"),
    "a report without the rows alone": (checks_without("model.row_alone"), "bundle.checks_at_export"),
    "a report without the capture": (checks_without("capture."), "bundle.checks_at_export"),
    "a check with a limit of its own": (
        check_changed("torchscript.numbers.all.real", limit=1e9),
        "bundle.checks_at_export",
    ),
    "a check beyond its limit": (check_changed("onnx.numbers.all.zeros", figure=0.5), "bundle.checks_at_export"),
    "a check of the model beyond its limit": (check_changed("model.repeat", figure=0.5), "bundle.checks_at_export"),
    "rows alone with a limit of their own": (check_changed("model.row_alone", limit=1.0), "bundle.checks_at_export"),
    "a check without its figure": (check_changed("onnx.numbers.all.real", figure=None), "bundle.checks_at_export"),
    "a check of another task": (check_added(name="onnx.test_mse", figure=0.1), "bundle.checks_at_export"),
    "a check of a file that was taken away": (
        check_added(name="pt2.numbers.all.real", figure=0.0, limit=1.0),
        "bundle.checks_at_export",
    ),
    "a check twice": (check_added(name="onnx.opset"), "bundle.proven_at_export"),
    "a check with another key": (check_added(more=1), "bundle.proven_at_export"),
    "a report of many levels": (deep(REPORT), "bundle.proven_at_export"),
    "an infinite figure": (text(REPORT, '"figure": 0.0', '"figure": Infinity'), "bundle.proven_at_export"),
    "a report that is a list": (report(lambda document: document["checks"]), "bundle.proven_at_export"),
}

FOLDERS: dict[str, tuple[Plant, str]] = {
    "a model that is a link out of the folder": (linked("model.onnx"), "bundle.plain_files"),
    "a manifest that is a link": (linked(MANIFEST), "bundle.plain_files"),
    "checksums that are a link": (linked(SUMS), "bundle.plain_files"),
    "samples that are a link": (linked(INPUT), "bundle.plain_files"),
    "a link within the folder": (linked("model.ts", is_inside=True), "bundle.plain_files"),
    "a folder in the folder": (with_folder, "bundle.plain_files"),
    "a model that is a pipe": (with_pipe, "bundle.plain_files"),
    "a file more with its checksum": (with_payload, "bundle.contents"),
    "a checksum twice": (summed_twice, "bundle.checksums"),
    "no checksum of the manifest": (without_line(MANIFEST), "bundle.no_extra_file"),
    "a model of three gigabytes": (huge("model.onnx", 3 * 2**30), "bundle.sizes"),
    "samples of a hundred gigabytes": (huge(OUTPUT, 100 * 2**30), "bundle.sizes"),
    "a report of a gigabyte": (huge(REPORT, 2**30), "bundle.sizes"),
    "checksums of a gigabyte": (huge(SUMS, 2**30), "bundle.sizes"),
}

CONTRADICTIONS = {**SAMPLES, **MANIFESTS, **REPORTS, **FOLDERS}
"""Every fault with the check that must find it."""
