"""What the results of studies and comparisons have in common in a notebook: tables and figures."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from regplug import statistics
from regplug.reports import figures, files
from regplug.reports.cells import html_table
from regplug.reports.drawing import Drawing
from regplug.reports.table import Parts, run_records, setting_records, table_text
from regplug.tables.frames import frame_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class Presented:
    """A result with settings that were compared."""

    @abstractmethod
    def analyses(self) -> Parts:
        """Returns the name and the analysis of each group of runs that can be ranked together."""

    @abstractmethod
    def studies(self) -> Sequence[tuple[str, statistics.Study]]:
        """Returns the name, the settings and the runs of each group of runs."""

    @abstractmethod
    def drawings(self) -> list[Drawing]:
        """Returns the figures of the report; `plot` draws one by its name."""

    @property
    @abstractmethod
    def _heading(self) -> tuple[str, str]:
        """A name, and the main conclusion."""

    def to_pandas(self, by: Literal["setting", "run"] = "setting") -> pd.DataFrame:
        """Returns the results as a data frame.

        Args:
            by: `setting` for a row with mean, interval and comparison for each setting; `run` for a row with seed and
                metrics for each run.
        """
        return frame_of(setting_records(self.analyses()) if by == "setting" else run_records(self.studies()))

    def table(self, kind: str = "markdown") -> str:
        """Returns the table of settings as text.

        Args:
            kind: `csv`, `latex` (with the package booktabs), `markdown` or `json`.

        Raises:
            RequestError: There is no such kind.
        """
        return table_text(self.analyses(), kind)

    def plot(self, name: str = "") -> Figure:
        """Returns a figure of the report as a matplotlib figure.

        Args:
            name: Its name: `differences`, `settings`, `heatmap`, `gap`, `cost`, `effects`, `ranks`, `strength-...` or
                `curves-...`; by default the first, usually the differences from the reference.

        Raises:
            RequestError: There is no such figure; the message names those that there are.
        """
        return figures.find(self.drawings(), name).draw()

    def save_figures(self, folder: str | Path, formats: Sequence[str] = ("svg", "pdf", "png")) -> list[Path]:
        """Writes every figure of the report into a folder, and returns the files.

        Args:
            folder: The folder, which is made if it does not exist.
            formats: One file for each: `svg`, `pdf`, `png`.

        Raises:
            RequestError: A format is unknown, or a file cannot be written.
        """
        return files.save_figures(self.drawings(), Path(folder), formats)

    def _repr_html_(self) -> str:
        name, verdict = self._heading
        return html_table(name, verdict, self.analyses())

    def __repr__(self) -> str:
        name, _ = self._heading
        parts = [analysis for _, analysis in self.analyses()]
        settings = sum(len(analysis.summaries) for analysis in parts)
        runs = sum(len(study.runs) for _, study in self.studies())
        metric = parts[0].metric if parts else "no metric"
        return f"{type(self).__name__}({name!r}: {settings} settings, {runs} runs, {metric})"
