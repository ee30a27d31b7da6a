"""Problem F: the full-width fit that all benchmarks measure. The simulator makes it once; it is memory-mapped."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

#: Training stars of one of the paper's two folds, its penalty, and a zero point [mas] as Hogg, Eilers & Rix (2019).
N_FOLD, PENALTY, ZERO_POINT = 14113, 30.0, 0.0483
SEED = 3
#: Stars to simulate for one training star: the cuts of the training set keep 73.8%, and folds differ by chance.
_STARS_PER_TRAINING_STAR = 1.38


def data_folder() -> Path:
    """Return where simulated surveys are kept between runs: SPFAST_BENCH_DIR, or a folder for temporary files."""
    return Path(os.environ.get("SPFAST_BENCH_DIR") or Path(tempfile.gettempdir()) / "spfast-bench")


@dataclass
class Problem:
    """Arrays of a survey and the training rows of its folds (int64, in the order of the survey)."""

    features: np.ndarray
    feature_errors: np.ndarray
    parallax: np.ndarray
    parallax_error: np.ndarray
    layout: object
    folds: tuple

    @property
    def rows(self):
        return self.folds[0]

    def arguments(self, fold: int = 0, threads: int | None = None) -> dict:
        """Return the keywords of `spfast.fit` that are the same in every fit."""
        return {"rows": self.folds[fold], "zero_point": ZERO_POINT, "layout": self.layout, "threads": threads}

    @property
    def data(self):
        return self.features, self.parallax, self.parallax_error

    def objective(self, team, penalty: float = PENALTY, fold: int = 0):
        """Return the objective of one fit, for the benchmarks of the kernels."""
        from spfast.model.objective import Objective

        rows = self.folds[fold]
        penalties = np.where(self.layout.penalized, penalty, 0.0)
        features = self.features.view(np.ndarray)
        features.flags.writeable = False
        ivar = self.parallax_error[rows] ** -2.0
        return Objective(features, rows, self.parallax[rows] + ZERO_POINT, ivar, penalties, team)

    def warm(self) -> "Problem":
        """Read the features once, so that they are in the page cache."""
        for begin in range(0, len(self.features), 4096):
            self.features[begin : begin + 4096].sum()
        return self


def make_survey(n_train: int, n_folds: int = 1, folder: Path | None = None) -> Path:
    """Simulate a survey with enough training stars for ``n_folds`` folds of ``n_train``, unless it is there already.

    Returns
    -------
    Path
        The survey folder; its name contains the number of stars and the seed.
    """
    from spfast.config import Config
    from spfast.simulate import simulate_survey

    n_stars = int(np.ceil(_STARS_PER_TRAINING_STAR * n_train * n_folds / 100.0)) * 100 + 100
    path = Path(folder or data_folder()) / f"stars-{n_stars}-seed-{SEED}"
    if not (path / "survey.json").exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # The mock of all measurements so far; fits of pixels need no low-rank model.
        config = Config().replace(features={"rank": 0})
        simulate_survey(path, n_stars, seed=SEED, config=config, noise="ideal", quiet=True)
    return path


def open_problem(path: str | Path, n_train: int, n_folds: int = 1) -> Problem:
    """Open a survey as a problem of ``n_folds`` folds with exactly ``n_train`` training stars each."""
    import spfast

    survey = spfast.open_survey(path)
    stars = survey.stars
    training = np.flatnonzero(np.asarray(stars["training_set"]))
    if training.size < n_train * n_folds:
        raise RuntimeError(f"{path}: {training.size} training stars, {n_train * n_folds} needed; simulate more")
    # As a catalog's folds: every n_folds-th star by the random index.
    label = np.asarray(stars["random_index"])[training] % n_folds
    folds = tuple(_first(training, label == k, n_train) for k in range(n_folds))
    return Problem(
        survey.features,
        survey.feature_errors,
        np.array(stars["parallax"], dtype=np.float64),
        np.array(stars["parallax_error"], dtype=np.float64),
        survey.layout,
        folds,
    )


def _first(training, mask, count):
    """Return the first ``count`` training stars of a fold (int64)."""
    rows = training[mask][:count]
    if rows.size < count:
        raise RuntimeError(f"a fold has {rows.size} training stars, {count} needed; simulate more")
    return rows.astype(np.int64)
