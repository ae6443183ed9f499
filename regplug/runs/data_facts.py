"""What a tracked run keeps of its data, so that runs can be compared without reading the data again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from regplug.data import Prepared, RawData, Split
from regplug.data.raw import update_digest

DIGEST_TAG = "regplug.data.digest"
JUDGED_TAG = "regplug.data.judged_digest"
ROWS_TAG = "regplug.data.rows_digest"
SIZES_TAG = "regplug.data.sizes"
FOLDS_TAG = "regplug.data.folds"
KEPT_TAG = "regplug.data.kept"


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """Facts that identify the data of one run.

    Args:
        digest: SHA-256 of the raw rows of all splits. Equal digests mean the same rows, split in the same way.
        judged_digest: SHA-256 of the rows on which the run is evaluated: the test rows, or a fold's validation rows.
        rows_digest: SHA-256 of all rows in any order and split. Equal digests mean the same rows.
        sizes: Number of rows by split.
        folds: Folds of the cross-validation that it belongs to; 0 for none.
        kept: How the inputs are stored during training, in words.
    """

    digest: str
    judged_digest: str
    rows_digest: str
    sizes: Mapping[str, int]
    folds: int = 0
    kept: str = ""

    def tags(self) -> dict[str, str]:
        """The facts as tags of a run."""
        told = {
            DIGEST_TAG: self.digest,
            JUDGED_TAG: self.judged_digest,
            ROWS_TAG: self.rows_digest,
            SIZES_TAG: " ".join(f"{split}={rows}" for split, rows in self.sizes.items()),
        }
        told |= {KEPT_TAG: self.kept} if self.kept else {}
        return told | ({FOLDS_TAG: str(self.folds)} if self.folds else {})

    @staticmethod
    def from_tags(tags: Mapping[str, str]) -> DataFacts | None:
        """Reads what `tags` gave; `None` for a run that has no such tags."""
        if not {DIGEST_TAG, JUDGED_TAG, ROWS_TAG, SIZES_TAG} <= set(tags):
            return None
        sizes = (part.partition("=") for part in tags[SIZES_TAG].split())
        return DataFacts(
            digest=tags[DIGEST_TAG],
            judged_digest=tags[JUDGED_TAG],
            rows_digest=tags[ROWS_TAG],
            sizes={split: int(rows) for split, _, rows in sizes},
            folds=int(tags.get(FOLDS_TAG, 0)),
            kept=tags.get(KEPT_TAG, ""),
        )


def facts_of(data: Prepared, *, whole: RawData | None = None, folds: int = 0) -> DataFacts:
    """Returns the facts of a run's data.

    Args:
        data: What it trains on.
        whole: The dataset that they are a fold of.
        folds: How many folds there are.
    """
    judged = data.raw.valid if folds and data.raw.valid is not None else data.raw.test
    return DataFacts(
        digest=data.digest,
        judged_digest=_digest(judged),
        rows_digest=rows_digest(whole or data.raw),
        sizes={name: len(split) for name, split in data.raw.splits()},
        folds=folds,
        kept=data.kept,
    )


def rows_digest(raw: RawData) -> str:
    """Returns the SHA-256 of all rows with their targets, hexadecimal; the same for every split and order of them."""
    rows = sorted(
        hashlib.blake2b(x.tobytes() + y.tobytes(), digest_size=16).digest()
        for _, split in raw.splits()
        for x, y in zip(split.row_digests, split.y, strict=True)
    )
    return hashlib.sha256(b"".join(rows)).hexdigest()


def _digest(split: Split) -> str:
    sha = hashlib.sha256()
    update_digest(sha, split)
    return sha.hexdigest()


def overlap_ratio(runs: Iterable[tuple[int, DataFacts]], split: str) -> float | None:
    """Returns the rows that runs are judged on over the rows they trained on, where their training rows overlap.

    That is what Nadeau and Bengio's correction adds to 1/n. Folds share training rows, and so do data seeds that part
    the same rows. Of several ratios the greatest is returned, which claims least.

    Args:
        runs: Data seed and data of each.
        split: On which rows they are judged: `test`, or `valid`.

    Returns:
        The ratio; `None` where there are no folds, and each data seed has rows of its own.
    """
    known = {(data_seed, facts.digest): facts for data_seed, facts in runs}
    seeds_of_rows: dict[str, set[int]] = {}
    for (data_seed, _), facts in known.items():
        seeds_of_rows.setdefault(facts.rows_digest, set()).add(data_seed)
    ratios = [
        # Trimmed folds are a little smaller than a share of 1/k.
        max(facts.sizes[split] / facts.sizes["train"], 1 / (facts.folds - 1) if facts.folds else 0.0)
        for facts in known.values()
        if split in facts.sizes and (facts.folds or len(seeds_of_rows[facts.rows_digest]) > 1)
    ]
    return max(ratios, default=None)
