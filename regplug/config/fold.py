"""One fold of a cross-validation, as a run names it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from regplug.errors import RequestError

_FORM = re.compile(r"(\d+)/(\d+)(?:/(\d+))?")


@dataclass(frozen=True)
class Fold:
    """One fold of a cross-validation.

    Args:
        index: The fold that validates, from 0.
        count: Number of folds.
        repeat: The repetition of the cross-validation, from 0; each draws new folds.
    """

    index: int
    count: int
    repeat: int = 0

    @classmethod
    def parse(cls, text: str) -> Fold:
        """Reads `FOLD/FOLDS` or `FOLD/FOLDS/REPEAT`.

        Raises:
            RequestError: The text has another form, or there is no such fold.

        >>> Fold.parse("0/5"), str(Fold.parse("2/5/1"))
        (Fold(index=0, count=5, repeat=0), '2/5/1')
        """
        found = _FORM.fullmatch(text)
        fold = cls(*(int(part or 0) for part in found.groups())) if found else None
        if fold is None or fold.count < 2 or fold.index >= fold.count:
            raise RequestError(
                f"fold={text} is not a fold.", hint="Write FOLD/FOLDS from 0, such as 0/5 to 4/5, or FOLD/FOLDS/REPEAT."
            )
        return fold

    def __str__(self) -> str:
        return f"{self.index}/{self.count}" + (f"/{self.repeat}" if self.repeat else "")
