"""The result of a study of the lab: verdict, claims, values, figures, and the runs behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regplug.api import Study
from regplug.lab.claims import Verdict
from regplug.lab.findings import Findings

if TYPE_CHECKING:
    from regplug.runs.results import RunResult
    from regplug.studies.results import StudyResult


@dataclass(frozen=True, kw_only=True)
class LabResult:
    """The result of a study.

    Args:
        study: Its descriptor.
        name: Its name as users type it, such as `weight-decay`.
        quick: Whether it ran in quick mode.
        seeds: Number of seeds.
        findings: What it found.
        study_id: MLflow's id of its run.
        tracking_uri: The store.
        folder: The folder of its report and figures.
        files: File names of each figure, by name.
        sweeps: Its sweeps.
        runs: Its single runs.
        seconds: Duration.
    """

    study: Study
    name: str
    quick: bool
    seeds: int
    findings: Findings
    study_id: str
    tracking_uri: str
    folder: Path
    files: dict[str, list[str]]
    sweeps: Sequence[StudyResult]
    runs: Sequence[RunResult]
    seconds: float

    @property
    def verdict(self) -> Verdict:
        """HOLDS, DOES NOT HOLD or UNDECIDED: that of the weakest claim."""
        return self.findings.verdict

    def document(self) -> dict[str, Any]:
        """Returns the result as JSON."""
        return {
            "study_id": self.study_id,
            "study": self.name,
            "question": self.study.question,
            "setup": self.study.summary,
            "source": self.study.source,
            "section": self.study.section,
            "rows": list(self.study.rows),
            "quick": self.quick,
            "seeds": self.seeds,
            "verdict": self.verdict,
            "claims": [claim.document() for claim in self.findings.claims],
            "values": {row["name"]: row for row in self.findings.summary()},
            "text": self.findings.text,
            "figures": [
                {"name": one.name, "title": one.title, "caption": one.caption, "files": self.files[one.name]}
                for one in self.findings.figures
            ],
            "folder": str(self.folder),
            "tracking_uri": self.tracking_uri,
            "sweeps": [sweep.study_id for sweep in self.sweeps],
            "runs": [run for sweep in self.sweeps for run in sweep.document()["runs"]]
            + [run.document() for run in self.runs],
            "summary": [row for sweep in self.sweeps for row in sweep.document()["summary"]],
            "seconds": self.seconds,
        }
