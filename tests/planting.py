"""Plants a fault into a copy of a bundle and writes its checksums again."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rewriting import change_arrays, change_json, change_manifest

from regplug.bundles.layout import write_checksums

Plant = Callable[[Path], None]
INPUT, OUTPUT, MANIFEST, REPORT, SUMS = (
    "sample_input.npz",
    "sample_output.npz",
    "manifest.json",
    "verification.json",
    "SHA256SUMS",
)


def outputs(change: Callable[[dict[str, np.ndarray]], Any]) -> Plant:
    return lambda bundle: change_arrays(bundle / OUTPUT, change)


def inputs(change: Callable[[dict[str, np.ndarray]], Any]) -> Plant:
    return lambda bundle: change_arrays(bundle / INPUT, change)


def report(change: Callable[[Any], Any]) -> Plant:
    return lambda bundle: change_json(bundle, REPORT, change)


def manifest(change: Callable[[Any], Any]) -> Plant:
    return lambda bundle: change_manifest(bundle, change)


def tolerance(value: float, case: str = "") -> Plant:
    return outputs(lambda arrays: arrays.update({f"tolerance{case}": np.float64(value)}))


def tolerance_times(factor: float, case: str = "") -> Plant:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[f"tolerance{case}"] = arrays[f"tolerance{case}"] * factor

    return outputs(change)


def filled(name: str, value: float) -> Plant:
    return outputs(lambda arrays: arrays[name].fill(value))


def one_filled(arrays: dict[str, np.ndarray]) -> None:
    arrays["logits"][5, 1] = np.inf


def scaled(arrays: dict[str, np.ndarray]) -> None:
    arrays["logits.nonfinite"] *= 0.9


def nan_given(arrays: dict[str, np.ndarray]) -> None:
    arrays["input"][3, 2] = np.nan


def case_deleted(case: str) -> Plant:
    def plant(bundle: Path) -> None:
        change_arrays(bundle / INPUT, lambda arrays: arrays.pop(f"input.{case}"))
        for name in (f"logits.{case}", f"tolerance.{case}"):
            change_arrays(bundle / OUTPUT, lambda arrays, name=name: arrays.pop(name))

    return plant


def replaced(name: str, by: Callable[[dict[str, np.ndarray]], np.ndarray]) -> Plant:
    return inputs(lambda arrays: arrays.update({name: by(arrays)}))


def compressed(bundle: Path) -> None:
    with np.load(bundle / INPUT) as archive:
        arrays = dict(archive)
    np.savez_compressed(bundle / INPUT, **arrays)
    write_checksums(bundle)


def add_zeros(path: Path, name: str, size_bytes: int) -> None:
    """Adds zeros to an archive of arrays, packed."""
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open(f"{name}.npy", "w", force_zip64=True) as entry,
    ):
        header = {"descr": "|u1", "fortran_order": False, "shape": (size_bytes,)}
        np.lib.format.write_array_header_1_0(entry, header)
        for _ in range(size_bytes // 2**20):
            entry.write(bytes(2**20))


def bomb(size_bytes: int, name: str = "input.extra") -> Plant:
    """Zeros that deflate to a thousandth of their size, under a name in the archive of inputs."""

    def plant(bundle: Path) -> None:
        add_zeros(bundle / INPUT, "input.extra", size_bytes)
        content = (bundle / INPUT).read_bytes()
        if name != "input.extra":
            content = content.replace(f"{name}.npy".encode(), b"input.spare.npy")
            content = content.replace(b"input.extra.npy", f"{name}.npy".encode())
        (bundle / INPUT).write_bytes(content)
        write_checksums(bundle)

    return plant


def packed_model(bundle: Path) -> None:
    """A TorchScript file with a third of a gigabyte of zeros beside its own entries."""
    with zipfile.ZipFile(bundle / "model.ts", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/extra/zeros", bytes(300 * 2**20))
    write_checksums(bundle)


def huge(name: str, size: int) -> Plant:
    """A sparse file; its checksum is none, for nobody should read as far."""
    return lambda bundle: os.truncate(bundle / name, size)


def deep(name: str) -> Plant:
    def plant(bundle: Path) -> None:
        (bundle / name).write_text('{"a":' * 50_000 + "1" + "}" * 50_000)
        write_checksums(bundle)

    return plant


def deep_config(document: Any) -> None:
    document["config"] = level = {}
    for _ in range(80):
        level["more"] = level = {}


def text(name: str, old: str, new: str) -> Plant:
    def plant(bundle: Path) -> None:
        content = (bundle / name).read_text()
        assert old in content
        (bundle / name).write_text(content.replace(old, new, 1))
        write_checksums(bundle)

    return plant


def linked(name: str, *, is_inside: bool = False) -> Plant:
    def plant(bundle: Path) -> None:
        elsewhere = (bundle if is_inside else bundle.parent) / f"other-{name}"
        shutil.move(bundle / name, elsewhere)
        (bundle / name).symlink_to(elsewhere)
        if name != SUMS:
            write_checksums(bundle)

    return plant


def with_folder(bundle: Path) -> None:
    (bundle / "more").mkdir()


def with_pipe(bundle: Path) -> None:
    (bundle / "model.onnx").unlink()
    os.mkfifo(bundle / "model.onnx")


def with_payload(bundle: Path) -> None:
    (bundle / "payload.bin").write_bytes(b"?")
    write_checksums(bundle)


def summed_twice(bundle: Path) -> None:
    content = (bundle / SUMS).read_text()
    (bundle / SUMS).write_text(f"{'0' * 64}  model.onnx\n{content}")


def without_line(name: str) -> Plant:
    def plant(bundle: Path) -> None:
        lines = (bundle / SUMS).read_text().splitlines()
        (bundle / SUMS).write_text("".join(f"{line}\n" for line in lines if not line.endswith(f"  {name}")))

    return plant


def updated(*path: str, value: Any) -> Callable[[Any], None]:
    """Sets a field of a document."""

    def change(document: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return change


def removed(*path: str) -> Callable[[Any], None]:
    """Takes a field out of a document."""

    def change(document: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        del document[path[-1]]

    return change


def both_of(*changes: Callable[[Any], Any]) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for one in changes:
            one(document)

    return change


def checks_without(*words: str) -> Plant:
    def change(document: Any) -> None:
        kept = [check for check in document["checks"] if not any(word in check["name"] for word in words)]
        assert len(kept) < len(document["checks"])
        document["checks"] = kept

    return report(change)


def check_changed(name: str, **fields: Any) -> Plant:
    def change(document: Any) -> None:
        next(check for check in document["checks"] if check["name"] == name).update(fields)

    return report(change)


def check_added(**fields: Any) -> Plant:
    whole = {"name": "x", "passed": True, "figure": None, "limit": None, "detail": "", **fields}
    return report(lambda document: document["checks"].append(whole))


def written(bundle: Path, name: str, content: bytes) -> None:
    (bundle / name).write_bytes(content)
    write_checksums(bundle)
