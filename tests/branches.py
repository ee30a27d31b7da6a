"""Branch coverage of data, selection and model, from the data that ``coverage combine`` left.

    python tests/branches.py

Prints the share of branches and of statements of each package; the exit status is 1 unless all of both are above 95%.
"""

import json
import sys
import tempfile
from pathlib import Path

PACKAGES = ("data", "selection", "model")
LEAST = 95.0


def main():
    from coverage import Coverage  # here: the tests collect this file, also where there is no coverage

    enough = True
    measured = Coverage()
    measured.load()
    for package in PACKAGES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "report.json"
            measured.json_report(outfile=str(path), include=[f"spfast/{package}/*"])
            totals = json.loads(path.read_text(encoding="utf-8"))["totals"]
        branches, statements = totals["percent_branches_covered"], totals["percent_statements_covered"]
        enough &= min(branches, statements) > LEAST
        print(f"{package}: {branches:.1f}% of {totals['num_branches']} branches, ", end="")
        print(f"{statements:.1f}% of {totals['num_statements']} statements")
    sys.exit(not enough)


if __name__ == "__main__":
    main()
