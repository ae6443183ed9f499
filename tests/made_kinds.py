"""The table of docs/export.md that says which kinds of modules are exported; `python tests/made_kinds.py` writes it."""

from __future__ import annotations

import importlib.util
import re
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from made_docs import DOCS, put
from module_kinds import REFUSED, SOUND
from module_kinds_more import MORE, Kind

import regplug
from regplug.errors import RegplugError, VerificationError

PAGE = DOCS / "export.md"
FORMATS = {"onnx": "ONNX", "torchscript": "TorchScript", "pt2": "pt2"}
PTE = "pte"
"""A format whose column is only compared where its library is installed."""

HAS_PTE = importlib.util.find_spec("executorch") is not None
KINDS: Mapping[str, Kind] = {
    **{name: Kind(*given) for name, given in SOUND.items()},
    **MORE,
    **{name: Kind(make, rows) for name, (make, rows, _) in REFUSED.items()},
}

_CUTS = (
    # Not in the table: places in the code, classes, figures, all but the first sentence.
    re.compile(r" at \S+\.py:\d+"),
    re.compile(r" \((?:format |on other |the model: |module '|[^()]*\w\.\w)[^()]*\)"),
    re.compile(r": [A-Z]\w*Error: .*"),
    re.compile(r",? by -?[\d.]+(e-?\d+)?.*"),
    re.compile(r"\. [A-Z].*"),
    re.compile(r"[.;,:]$"),
)
_LONGEST = 100


def outcomes(name: str) -> dict[str, RegplugError | None]:
    """Returns what each format makes of a kind: an error, or `None` if it is accepted."""
    together = tried(name, *FORMATS)
    return dict.fromkeys(FORMATS) if together is None else {form: tried(name, form) for form in FORMATS}


def tried(name: str, *formats: str) -> RegplugError | None:
    """Exports a module of a kind, and returns the error if it is refused."""
    kind = KINDS[name]
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        for torchs in ("LSTM with projections is not supported with oneDNN", "`torch.jit"):
            warnings.filterwarnings("ignore", torchs)
        network = kind.make()
        try:
            regplug.export(network, kind.example, Path(folder) / "b", formats=formats, **kind.asked)
        except RegplugError as error:
            return error
    return None


def row_of(name: str, found: Mapping[str, RegplugError | None]) -> str:
    """Returns the line of a kind in the table."""
    reasons = dict.fromkeys(reason_of(error) for error in found.values() if error is not None)
    cells = ["no" if found[form] else "yes" for form in FORMATS]
    return f"| {' | '.join([name, *cells, '; '.join(reasons)])} |".replace("|  |", "| |")


def reason_of(error: RegplugError) -> str:
    """Returns an error's reason in a few words, without places and figures."""
    text = error.message
    if isinstance(error, VerificationError) and "\n" in text:
        text = text.splitlines()[1].partition(": ")[2]
    if "largest difference from torch" in text:
        text = "the outputs differ from torch's"
    if text.startswith("the file raises: "):
        text = "the file raises an error"
    for cut in _CUTS:
        text = cut.sub("", text)
    text = text if len(text) <= _LONGEST else text.partition(": ")[0]
    return (text[0].upper() + text[1:]).replace("|", "\\|")


def pte_cell_of(name: str, others: str) -> str:
    """Returns the cell of ExecuTorch for a kind: `yes`, or `no` with the reason, unless the row has it already.

    Args:
        name: The kind.
        others: The row for the other formats.
    """
    error = tried(name, PTE)
    reason = "" if error is None else reason_of(error)
    return "yes" if error is None else "no" if reason in others else f"no: {reason}"


def rows_of_page() -> dict[str, str]:
    """Returns the lines of the table in the page by kind, without the column of ExecuTorch."""
    return {name: f"{line.rpartition(' | ')[0]} |" for name, line in _lines_of_page().items()}


def pte_cells_of_page() -> dict[str, str]:
    """Returns the cells of ExecuTorch in the page, by kind."""
    return {name: line.rpartition(" | ")[2].removesuffix(" |") for name, line in _lines_of_page().items()}


def _lines_of_page() -> dict[str, str]:
    inside = PAGE.read_text(encoding="utf-8").partition("<!-- made: kinds -->")[2].partition("<!-- end -->")[0]
    rows = [line for line in inside.splitlines() if line.startswith("| ")]
    return {line.split(" | ")[0].removeprefix("| "): line for line in rows[1:]}


def write() -> None:
    """Writes the table into the page; without ExecuTorch, its column stays as it is."""
    known = pte_cells_of_page()
    lines = [f"| kind | {' | '.join(FORMATS.values())} | why not | pte |", f"|---|{'---|' * len(FORMATS)}---|---|"]
    for name in KINDS:
        row = row_of(name, outcomes(name))
        lines.append(f"{row} {pte_cell_of(name, row) if HAS_PTE else known.get(name, 'not tried')} |")
        sys.stderr.write(f"{lines[-1]}\n")
    PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), "kinds", "\n".join(lines) + "\n"), encoding="utf-8")


if __name__ == "__main__":
    write()
