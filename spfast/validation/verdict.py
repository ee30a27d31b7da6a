"""A verdict: findings on a catalog, each graded by a stated threshold; how they are counted, written and printed."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from astropy.table import Table

from spfast.validation.columns import Column, described_table

__all__ = ["RULE", "VERDICT", "Finding", "Limits", "count_verdicts", "format_verdict", "sort_findings", "verdict_table"]

#: What a finding may be, worst first.
BAD, LOOK, GOOD, NOT_CHECKED = "bad", "look", "good", "not checked"
_ORDER = (BAD, LOOK, GOOD, NOT_CHECKED)
_COUNTED = {BAD: "bad", LOOK: "to look at", GOOD: "good", NOT_CHECKED: "not checked"}
#: A value counts as off if it is so by so many of its errors: chance does that to one honest value in 400.
_OFF = 3.0
#: And a true value is within so many of them in 95 cases of 100.
_WITHIN = 2.0
#: How findings are graded, for the reader.
RULE = (
    f"A value beyond a threshold counts if it is also {_OFF:.0f} of its errors away from what is right. It is good if "
    f"{_WITHIN:.0f} of its errors do not reach what would be bad. Else its error is too large to tell: not checked."
)
_LINE = 112

#: Columns of `verdict_table`.
VERDICT = {
    "name": Column("what was judged"),
    "verdict": Column("good, look (at it), bad, or not checked"),
    "value": Column("what was measured, as a fraction where it has no unit", unit=None),
    "error": Column("its error", unit=None),
    "unit": Column("of value and error"),
    "threshold": Column("from where on the verdict is worse"),
    "reason": Column("why this threshold"),
    "meaning": Column("what it means and what to do"),
    "where": Column("the check whose table shows it; else flags, models or header, on the report"),
}


class Limits(NamedTuple):
    """How large a value may be before it is looked at, before it is bad, and why; ``fewest``: how small."""

    look: float
    bad: float
    reason: str
    fewest: bool = False

    def grade(self, value: float, error: float = 0.0) -> str:
        """Return the verdict on a value.

        Parameters
        ----------
        value : float
            Its size counts: what is judged is a departure from zero, or a number of which less is better.
        error : float

        Returns
        -------
        str
            ``"bad"``, ``"look"``, ``"good"``; ``"not checked"`` if the error is too large to tell.

        Examples
        --------
        >>> from spfast.validation.verdict import Limits
        >>> limits = Limits(0.03, 0.06, "")
        >>> [limits.grade(*pair) for pair in ((0.02, 0.001), (0.10, 0.09), (0.05, 0.005), (-0.10, 0.01))]
        ['good', 'not checked', 'look', 'bad']
        """
        sign = -1.0 if self.fewest else 1.0
        size, look, bad = sign * abs(value), sign * self.look, sign * self.bad
        if not np.isfinite([value, error]).all():
            return NOT_CHECKED
        if size > look and abs(value) > _OFF * error:
            return BAD if size > bad else LOOK
        return GOOD if size + _WITHIN * error <= bad else NOT_CHECKED

    def describe(self, format: str, ideal: float = 0.0) -> str:
        """Say the limits in words, for values of a format that are judged by how far they are from the ideal one."""
        beyond = "below" if self.fewest else "above"
        look, bad, centre = (
            f"{x:.6g}" if not format.endswith("%") else f"{100 * x:g}%" for x in (self.look, self.bad, ideal)
        )
        if ideal:
            return f"look outside {centre} +- {look}, bad outside +- {bad}"
        return f"look {beyond} {look}, bad {beyond} {bad}" if look != bad else f"bad {beyond} {bad}"


@dataclass(frozen=True)
class Finding:
    """What was found on one question.

    Attributes
    ----------
    name : str
    verdict : str
        ``"good"``, ``"look"``, ``"bad"`` or ``"not checked"``.
    meaning : str
        What it means for the reader and what to do; where nothing was checked, why not and what to give.
    value, error : float
        NaN where there is none.
    format, unit : str
        Of both in a text.
    threshold, reason : str
        From where on the verdict is worse, and why there.
    where : str
        The check of `spfast.validation.checks.CHECKS` whose table shows it, or ``"flags"``, ``"models"``,
        ``"header"``.
    """

    name: str
    verdict: str
    meaning: str
    value: float = np.nan
    error: float = np.nan
    format: str = ""
    unit: str = ""
    threshold: str = ""
    reason: str = ""
    where: str = ""

    @property
    def value_text(self) -> str:
        """Value and error in a text, empty where there is none."""
        if np.isnan(self.value):
            return ""
        error = f" +- {self.error:{self.format.lstrip('+')}}" if self.error > 0 else ""
        return f"{self.value:{self.format}}{error} {self.unit}".rstrip()


def sort_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings worst first, else in their order."""
    return sorted(findings, key=lambda finding: _ORDER.index(finding.verdict))


def count_verdicts(findings: Sequence[Finding]) -> str:
    """Say how many findings are bad, to look at, good and not checked.

    Examples
    --------
    >>> from spfast.validation.verdict import Finding, count_verdicts
    >>> count_verdicts([Finding("scatter", "good", "It is small."), Finding("dust", "bad", "It counts as distance.")])
    '1 bad, 1 good'
    """
    counts = {verdict: sum(finding.verdict == verdict for finding in findings) for verdict in _ORDER}
    return ", ".join(f"{n} {_COUNTED[verdict]}" for verdict, n in counts.items() if n)


def verdict_table(findings: Sequence[Finding]) -> Table:
    """Return findings as a table with the columns of `VERDICT`."""
    rows = [tuple(getattr(finding, name) for name in VERDICT) for finding in findings]
    return described_table(rows, VERDICT)


def format_verdict(findings: Sequence[Finding]) -> str:
    """Lay out findings for a terminal: verdict, name, value and threshold, and what it means where it is not good."""
    lines = [f"Verdict: {count_verdicts(findings)}"]
    widths = [max(len(text) for text in texts) for texts in zip(*map(_cells, findings), strict=True)]
    for finding in findings:
        cells = (text.ljust(width) for text, width in zip(_cells(finding), widths, strict=True))
        lines.append("  ".join((*cells, finding.threshold)).rstrip())
        if finding.verdict != GOOD:
            indent = " " * (widths[0] + 2)
            lines.append(textwrap.fill(finding.meaning, _LINE, initial_indent=indent, subsequent_indent=indent))
    return "\n".join([*lines, textwrap.fill(RULE, _LINE)])


def _cells(finding):
    return finding.verdict, finding.name, finding.value_text
