"""The training of a fold: from a survey and a configuration to a model, in six steps."""

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from spfast import __version__
from spfast.blas import one_blas_thread
from spfast.config import AUTO, CONSTANT, FITTED, OWN_ZERO_POINT, SMALLEST_PARALLAX_ERROR, Config
from spfast.data.survey import Survey, as_survey
from spfast.data.tables.values import float_column
from spfast.data.write_survey import package_versions
from spfast.data.zero_point import ChosenZeroPoint, added_to_parallax, choose_zero_point
from spfast.errors import BadInputError, SpfastWarning
from spfast.model.budget import ErrorBudget
from spfast.model.fitted_model import FittedModel
from spfast.model.options import FitOptions
from spfast.model.parts import Provenance, RobustFit, ScatterWeights, Tuned
from spfast.model.robust import RobustSettings
from spfast.progress import Progress
from spfast.reads.cluster import on_cluster
from spfast.reads.reader import shares_reads, side_by_side
from spfast.selection.folds import FOLDS, fold_labels
from spfast.selection.grid import PointStore, scored_zero_point
from spfast.selection.sample import SAMPLE_STARS, sample_rows
from spfast.selection.splits import Split, make_splits
from spfast.selection.star_keys import encode_stars
from spfast.training.coefficient_errors import SplitErrors
from spfast.training.columns import choose_columns
from spfast.training.cross_validation import cross_validate_stars
from spfast.training.error_budget import fit_without_like, measure_errors
from spfast.training.held_out import predict_held_out
from spfast.training.inputs import Inputs, survey_inputs
from spfast.training.moments import refuse_parallaxes_alike
from spfast.training.sample import Sample
from spfast.training.stars import TrainingStars
from spfast.training.zero_point import fit_survey_zero_point, with_fitted_zero_point

__all__ = ["Choice", "FoldTraining", "fit_folds", "fit_stars"]

#: What the zero point of the best score is wrong by beyond its noise [mas]: a model that is a little wrong for the
#: nearest stars outweighs a zero point in the scores. From mock surveys of 2,100 stars (zero points 0.02 to 0.08 mas).
_MISFIT_ERROR = 0.01
#: A sample of the training stars has so many for each column of a model: coefficients' errors are a tenth too large, at
#: most, before the jackknife scales them.
_STARS_PER_COLUMN = 10


class Choice(NamedTuple):
    """A penalty and a zero point, and how they were chosen.

    Attributes
    ----------
    penalty, zero_point : float [, mas]
    zero_point_error : float [mas] or None
        None for one that was given, or whose error the fit will find.
    tuned : Tuned or None
        None if both were given.
    start : float64 array, shape (n_features,), or None
        Coefficients of a part of the stars under them, if such were fitted.
    """

    penalty: float
    zero_point: float
    zero_point_error: float | None = None
    tuned: Tuned | None = None
    start: np.ndarray | None = None


class FoldTraining:
    """The training of one fold of a survey, or of all its training stars.

    `fit` makes a model in six steps:

    1. The training stars of the fold, and inner folds that hold each of them out once. All that follows looks at these
       stars alone.
    2. Coordinates and products of a low-rank model, penalty and zero point: as given, or by cross-validation over the
       inner folds.
    3. Weights with an intrinsic scatter, if asked for; penalty and zero point are then chosen again.
    4. The fit of the coefficients, robust or with the zero point if asked for.
    5. Where the training stars lie in the model's own features.
    6. The error budget, from the stars of the inner folds held out.

    Parameters
    ----------
    survey : Survey or path-like
    config : Config, optional
        Its ``fit``, ``folds``, ``tune`` and ``errors`` sections are used.
    fold : str, optional
        ``"A"`` or ``"B"``; by default all training stars.
    threads : int, optional
        All processors by default.
    quiet : bool
        Do not say what is going on.
    zero_point : ChosenZeroPoint, optional
        By default chosen by the configuration and the release that the survey's parallaxes are from.
    inputs : Inputs, optional
        From `survey_inputs`, if it was called already.

    Attributes
    ----------
    zero_point : ChosenZeroPoint
    inputs : Inputs
        Features of all stars of the survey.
    stars : TrainingStars
        With all of these features.
    splits : tuple of Split
        The inner folds.

    Raises
    ------
    BadInputError
        For an unknown fold, or if there is no training star.
    """

    def __init__(
        self,
        survey: Survey | str | os.PathLike,
        config: Config | None = None,
        fold: str | None = None,
        threads: int | None = None,
        quiet: bool = True,
        zero_point: ChosenZeroPoint | None = None,
        inputs: Inputs | None = None,
    ):
        # 1. The training stars and their inner folds.
        self.survey = survey = as_survey(survey)
        self.config, self.fold = Config() if config is None else config, fold
        self._quiet = quiet
        settings = self.config.fit
        if settings.zero_point_covariates and settings.zero_point_rule != FITTED:
            raise BadInputError(f"zero point covariates {settings.zero_point_covariates!r}: only with --zero-point fit")
        self.zero_point = choose_zero_point(survey, settings) if zero_point is None else zero_point
        self.robust = None
        if settings.robust:
            self.robust = RobustSettings(settings.outlier_share or None, settings.outlier_width or None)
        self.inputs = survey_inputs(survey, settings, threads, quiet) if inputs is None else inputs
        correlation = self.config.errors.pixel_correlation
        if self.inputs.low_rank is not None and correlation:
            raise BadInputError(
                f"pixel correlation {', '.join(f'{rho:g}' for rho in correlation)}: only with --pixels raw; the "
                "low-rank model finds by itself how noise correlates"
            )
        self.stars = self._training_stars(threads)
        self.splits = self.inner_splits()

    @one_blas_thread()
    def fit(self) -> FittedModel:
        """Make the fold's model.

        Returns
        -------
        FittedModel
            Its ``provenance`` says which stars it saw, the survey, the fold and the configuration, its ``tuned`` what
            "auto" chose, its ``budget`` what total errors are made of.
        """
        settings, weights = self.config.fit, None
        # 2. Coordinates, penalty and zero point.
        stars, columns = self.choose_columns(self.stars)
        chosen = self.choose(stars)
        # 3. Weights.
        if settings.intrinsic_scatter:
            stars, weights = self.with_scatter(stars, chosen.penalty, chosen.zero_point)
            chosen = self.choose(stars)
        # 4. The coefficients.
        model, zero_point_error = self._fit_coefficients(stars, chosen)
        tuned = model.tuned
        if columns is not None:
            tuned = Tuned(columns) if tuned is None else replace(tuned, summary=f"{columns}; {tuned.summary}")
        model = replace(
            model,
            low_rank=self.inputs.low_rank,
            recipe=self.survey.recipe,
            provenance=self._provenance(),
            scatter_weights=weights,
            tuned=tuned,
        )
        # 5. Where the training stars lie.
        stars = self._as_fitted(stars, model)
        model = replace(model, extent=self._sample(stars, [model]).extent(model))
        # 6. The error budget.
        model = replace(model, budget=self._error_budget(stars, model, zero_point_error))
        self.survey.check_length()
        return model

    def with_error_budget(self, model: FittedModel) -> FittedModel:
        """Measure the error budget of a model of this fold that has none, such as from an old file.

        Parameters
        ----------
        model : FittedModel
            Trained on this fold.
        """
        stars, pilot = self.stars, model.scatter_weights
        if model.low_rank is not None:
            stars = stars.with_inputs(self.inputs.within(model.layout.rank, model.layout.n_products))
        if pilot is not None:
            stars, _ = self.with_scatter(stars, pilot.penalty, pilot.zero_point, pilot.intrinsic_scatter)
        zero_point_error = self.zero_point.error if model.zero_point == self.zero_point.value else None
        return replace(model, budget=self._error_budget(self._as_fitted(stars, model), model, zero_point_error))

    @property
    def first_zero_point(self) -> float:
        """What a fit adds to all parallaxes [mas] before one is chosen: 0 where each star has its own already."""
        return self.zero_point.value

    def inner_splits(self, repeat: int = 0) -> Sequence[Split]:
        """Folds within the training stars: "auto", a fitted zero point and the error budget hold stars out by them."""
        # Always by the hash: inner folds of A and B must not be A and B again.
        folds = replace(self.config.folds, split="hash", seed=self.config.folds.seed + 1 + repeat)
        n_folds = max(self.config.tune.inner_folds, 3)
        return make_splits(self.survey.stars, self.stars.rows, n_folds, config=folds).splits

    def choose_columns(self, stars: TrainingStars) -> tuple[TrainingStars, str | None]:
        """The stars with as many coordinates and products as the configuration says or held-out stars prefer.

        Returns
        -------
        stars : TrainingStars
        summary : str or None
            What was chosen and how; None for pixels as they are.
        """
        if self.inputs.low_rank is None:
            return stars, None
        settings = self.config.fit
        calm = self.with_robust_weights(stars, settings.penalty, self.first_zero_point)[0]
        rows = sample_rows(self.survey.stars, stars.rows, seed=self.config.folds.seed)
        sample = Sample.of(replace(calm, feature_errors=None), rows, [])
        inputs, summary = choose_columns(
            self.inputs,
            sample.stars,
            sample.splits(self.splits),
            settings,
            self.first_zero_point,
            share=rows.size / stars.rows.size,
            stage=partial(self._stage, "columns"),
        )
        return stars.with_inputs(inputs), summary

    def choose(self, stars: TrainingStars) -> Choice:
        """Penalty and zero point by their rules.

        Under the rule "auto" the zero point is the mean, by their variances, of the release's and of that which the
        scores of held-out stars prefer. Coefficients nearly make up for a wrong zero point, so that the scores alone
        say little: what they leave open stays at the release's value.
        """
        settings, tune, zero_point = self.config.fit, self.config.tune, self.first_zero_point
        own_error = None if self.zero_point.rule == FITTED else self.zero_point.error
        if AUTO not in (settings.penalty_rule, self.zero_point.rule):
            return Choice(settings.penalty, zero_point, own_error)
        if self.zero_point.rule == AUTO:
            refuse_parallaxes_alike(stars)
        store = PointStore()
        found = cross_validate_stars(
            self.with_robust_weights(stars, settings.penalty, zero_point)[0],
            self.splits,
            tune.penalties_for(stars.rows.size) if settings.penalty_rule == AUTO else (settings.penalty,),
            (*tune.zero_points, zero_point) if self.zero_point.rule == AUTO else (zero_point,),
            tune.score,
            tune.choice,
            store,
            stage=partial(self._stage, "penalty and zero point"),
        )
        grid = [{"penalty": p, "zero_point": z, "score": mean} for (p, z), mean in found.means.items()]
        tuned = Tuned(found.summary, grid, list(found.notes), found.n_splits)
        if self.zero_point.rule != AUTO:
            return Choice(found.penalty, zero_point, own_error, tuned, self._start(store, found.penalty, zero_point))
        scored, error = scored_zero_point(found.points, tune.score, found.penalty)
        chosen, error = _between(zero_point, self.zero_point.error, scored, error)
        summary = (
            f"{tuned.summary}; zero point {chosen:.4f} +- {error:.4f} mas, between {zero_point:g} and the one that "
            "these scores prefer"
        )
        start = self._start(store, found.penalty, chosen)
        return Choice(found.penalty, chosen, error, replace(tuned, summary=summary), start)

    def _start(self, store, penalty, zero_point):
        """The coefficients of the first split that are nearest: where a fit of all the stars begins."""
        starts = store.starts(self.splits[0].repeat, self.splits[0].held_out)
        return starts[min(starts, key=lambda at: (abs(np.log(at[0] / penalty)), abs(at[1] - zero_point)))]

    def with_scatter(
        self, stars: TrainingStars, penalty: float, zero_point: float, intrinsic_scatter: float | None = None
    ) -> tuple[TrainingStars, ScatterWeights]:
        """The stars with the intrinsic scatter in their weights, as measured on stars held out from a pilot fit.

        Parameters
        ----------
        stars : TrainingStars
        penalty, zero_point : float [, mas]
            Of the pilot fit.
        intrinsic_scatter : float, optional
            Measured on the stars held out by default.

        Returns
        -------
        stars : TrainingStars
            Weights ``1 / (error^2 + (s prediction)^2)``, with the prediction of the fit that did not see the star: the
            model's value, never the measured parallax, sets the weight.
        weights : ScatterWeights
        """
        calm, _ = self.with_robust_weights(stars, penalty, zero_point)
        with self._stage("pilot fit"):
            model = calm.fit(penalty, zero_point)
        held_out = predict_held_out(calm, self.splits, self._fit_without(model, calm, self.splits))
        if intrinsic_scatter is None:
            intrinsic_scatter = self._measure_errors(calm, model, held_out.models).intrinsic_scatter
        error = stars.gaia_error.copy()
        error[stars.rows] = np.hypot(error[stars.rows], intrinsic_scatter * np.exp(held_out.ln_parallax))
        return stars.with_fit_error(error), ScatterWeights(penalty, zero_point, intrinsic_scatter)

    def with_robust_weights(
        self, stars: TrainingStars, penalty: float, zero_point: float
    ) -> tuple[TrainingStars, RobustFit | None]:
        """The stars under the weights of a robust fit, and what it found, if the configuration wants one."""
        if self.robust is None:
            return stars, None
        with self._stage("robust fit"):
            model = stars.fit(penalty, zero_point, self.robust)
        return stars.with_robust_weights(model), model.robust

    def _training_stars(self, threads):
        survey, config, fold = self.survey, self.config, self.fold
        if fold not in (None, *FOLDS):
            raise BadInputError(f"fold is {fold!r}, expected one of {', '.join(FOLDS)}")
        settings = config.fit
        parallax, parallax_error = (float_column(survey.stars, name) for name in ("parallax", "parallax_error"))
        if self.zero_point.rule not in OWN_ZERO_POINT:
            parallax = parallax + added_to_parallax(survey.stars, self.zero_point.rule)[0]
        chosen = np.asarray(survey.stars["training_set"], dtype=bool) & np.isfinite(parallax) & (parallax_error > 0)
        if fold is not None:
            chosen &= fold_labels(survey.stars, config.folds).labels == fold
        is_tiny = chosen & (parallax_error < SMALLEST_PARALLAX_ERROR)
        if is_tiny.any():
            text = (
                f"{is_tiny.sum()} training stars have a parallax_error below {SMALLEST_PARALLAX_ERROR:g} mas, which "
                "Gaia cannot have: left out"
            )
            warnings.warn(text, SpfastWarning, 2)
            chosen &= ~is_tiny
        if not chosen.any():
            where = f"fold {fold}" if fold else "the survey"
            raise BadInputError(f"{survey.path}: no training star in {where}; loosen [training] and ingest again")
        return TrainingStars(
            features=self.inputs.features,
            feature_errors=self.inputs.errors,
            layout=self.inputs.layout,
            parallax=parallax,
            gaia_error=parallax_error,
            fit_error=parallax_error,
            rows=np.flatnonzero(chosen),
            options=FitOptions.of(
                solver=settings.solver,
                tolerance=settings.tolerance,
                max_iterations=settings.max_iterations,
                start=settings.start,
                # A zero point fitted with the coefficients needs it, in the fits for held-out stars as well.
                exact_distance_modulus=settings.exact_distance_modulus or self.zero_point.rule == FITTED,
                threads=threads,
            ),
            pixel_correlation=config.errors.pixel_correlation,
        )

    def _fit_coefficients(self, stars, chosen):
        """The model by the rule for the zero point, and the error of that."""
        rule, (penalty, zero_point, error, tuned, start) = self.zero_point.rule, chosen
        if rule != FITTED:
            with self._stage("fit"):
                model = stars.fit(penalty, zero_point, self.robust, start)
            return replace(model, zero_point_rule=CONSTANT if rule == AUTO else rule, tuned=tuned), error
        calm, robust = self.with_robust_weights(stars, penalty, zero_point)
        covariates = self.config.fit.zero_point_covariates
        with self._stage("fits with the zero point"):
            model, summary = fit_survey_zero_point(
                self.survey, calm, self.splits, covariates, penalty, zero_point, self.robust
            )
        tuned = Tuned(summary) if tuned is None else replace(tuned, summary=f"{tuned.summary}; {summary}")
        model = replace(model, zero_point_rule=FITTED, robust=robust, tuned=tuned)
        return model, model.fitted_zero_point.covariance[0][0] ** 0.5

    def _as_fitted(self, stars, model):
        """The stars with the zero point and the weights that they had in the last round of the fit."""
        if model.fitted_zero_point is not None:
            stars = with_fitted_zero_point(self.survey, stars, model)
        return stars.with_robust_weights(model)

    def _error_budget(self, stars, model, zero_point_error=None) -> ErrorBudget:
        settings, others = self.config.errors, []
        if settings.coefficients == "splits":
            repeats = (self.inner_splits(repeat) for repeat in range(1, settings.repeats))
            others = [self._fit_without(model, stars, splits) for splits in repeats]
        # What depends on the predicted parallax would bend an exact distance modulus.
        subtracted = settings.offset == "subtracted" and not self.config.fit.exact_distance_modulus
        how = {"subtracted": subtracted, "zero_point_error": zero_point_error}
        return self._measure_errors(stars, model, self._fit_without(model, stars, self.splits), others, **how)

    def _fit_without(self, model, stars, splits):
        with self._stage("held-out fits", len(splits)) as stage:
            return fit_without_like(model, stars, splits, stage.advance)

    def _measure_errors(self, stars, model, held_out, others=None, **how) -> ErrorBudget:
        """The error budget on a sample of the training stars.

        ``held_out`` are the models without one fold each, ``others`` those of repeated folds, if the spread of
        coefficients over them is to be their error.
        """
        repeats = [held_out, *(others or ())]
        sample = self._sample(stars, [model, *(fit for fits in repeats for fit in fits)])
        splits, own = sample.splits(self.splits), sample.model(model)
        repeats = [[sample.model(fit) for fit in fits] for fits in repeats]
        if others:
            how["split_errors"] = SplitErrors(own, sample.stars, repeats)
        with self._stage("errors"):
            found = predict_held_out(sample.stars, splits, repeats[0])
            return sample.budget(measure_errors(own, sample.stars, splits, held_out=found, **how))

    def _stage(self, name, total=1):
        """Say what is going on in this fold."""
        where = f"fold {self.fold}" if self.fold else "all stars"
        return Progress(f"{where}: {name}", total, self._quiet, leaves_line=False)

    def _sample(self, stars, models) -> Sample:
        """The sample of training stars on which models are judged, in the columns that these use."""
        n_columns = max(np.count_nonzero((model.coef != 0.0) | ~model.penalized) for model in models)
        n_stars = max(SAMPLE_STARS, _STARS_PER_COLUMN * n_columns)
        return Sample.of(stars, sample_rows(self.survey.stars, stars.rows, n_stars, self.config.folds.seed), models)

    def _provenance(self):
        survey = self.survey
        return Provenance(
            spfast_version=__version__,
            survey_hash=survey.survey_hash,
            fold=self.fold or "all",
            fold_rule=fold_labels(survey.stars, self.config.folds).rule,
            training_stars=encode_stars(survey.stars[self.stars.rows]),
            config=self.config.after_survey(),
            survey_config=survey.config,
            features_origin=survey.features_origin,
            zero_point_reason=self.zero_point.reason,
            inputs=survey.input_hashes,
            versions=package_versions(),
            command="spfast fit SURVEY" + (f" --fold {self.fold}" if self.fold else ""),
        )


def _between(release, release_error, scored, error):
    """The mean of a release's zero point and that of the scores by their variances, and its error [mas]."""
    weight = 1.0 / (error**2 + _MISFIT_ERROR**2) if math.isfinite(error) else 0.0
    total = weight + release_error**-2.0
    # As the release's value plus a shift, so that scores without weight leave it to the last bit.
    return release + (weight * (scored - release) / total if weight else 0.0), total**-0.5


def fit_stars(
    survey: Survey | str | os.PathLike,
    config: Config | None = None,
    fold: str | None = None,
    threads: int | None = None,
    quiet: bool = True,
    cluster: Any = None,
) -> FittedModel:
    """Fit a model to a survey's training stars, or to those of one fold: `FoldTraining`'s six steps.

    Parameters
    ----------
    survey, config, fold, threads, quiet
        As in `FoldTraining`.
    cluster : optional
        Whose workers read the features, as for `spfast.on_cluster`.

    Returns
    -------
    FittedModel
        As `FoldTraining.fit`.

    Raises
    ------
    BadInputError
        For an unknown fold, or if there is no training star.
    """
    survey = as_survey(survey)
    with on_cluster(cluster, survey.path.parent, threads):
        return FoldTraining(survey, config, fold, threads, quiet).fit()


def fit_folds(
    survey: Survey | str | os.PathLike,
    config: Config | None = None,
    threads: int | None = None,
    quiet: bool = True,
    cluster: Any = None,
) -> dict[str, FittedModel]:
    """Fit one model to each fold's training stars.

    Parameters
    ----------
    survey, config, threads, quiet
        As in `FoldTraining`.
    cluster : optional
        As in `fit_stars`.

    Returns
    -------
    dict of FittedModel
        Under ``"A"`` and ``"B"``: the fold that each was trained on.
    """
    survey, config = as_survey(survey), Config() if config is None else config
    with on_cluster(cluster, survey.path.parent, threads):
        return _fit_folds(survey, config, threads, quiet)


def _fit_folds(survey, config, threads, quiet):
    inputs = survey_inputs(survey, config.fit, threads, quiet)  # once, not by each fold
    zero_point = choose_zero_point(survey, config.fit)  # once: it may have something to say
    jobs = [partial(_fit_fold, survey, config, fold, quiet, zero_point, inputs) for fold in FOLDS]
    has_many_fits = AUTO in (config.fit.penalty_rule, config.fit.zero_point_rule) or config.fit.intrinsic_scatter
    if has_many_fits and not shares_reads(inputs.features):
        models = [job(threads) for job in jobs]  # the fits of each are made side by side
    else:
        models = side_by_side(jobs, inputs.features, threads)
    return dict(zip(FOLDS, models, strict=True))


def _fit_fold(survey, config, fold, quiet, zero_point, inputs, threads):
    return FoldTraining(survey, config, fold, threads, quiet, zero_point, inputs).fit()
