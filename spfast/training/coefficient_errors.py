"""How far noise in the training stars moves a model's predictions: the sampling covariance of its coefficients.

On the support (non-zero and unpenalised columns) a small change of the training parallaxes moves the coefficients by
``H^-1 X' W mu (change)``, with H the Gauss-Newton curvature. The changes have three independent sources, so that the
covariance is a sum of three sandwiches ``H^-1 M H^-1``: Gaia's errors times their inflation k, the errors of the
features, and an intrinsic scatter s that is a share of the parallax. ``k`` and ``s`` stay free here. The formula leaves
out the penalty, which holds coefficients back: they move by less than it says. By how much less is seen where inner
folds give every star several predictions. The alternative needs no formula but many fits: how far coefficients
spread when a part of the stars is left out.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import chdtri

from spfast.kernels.stop import raise_if_stopped
from spfast.model.budget import quadratic_forms
from spfast.model.fitted_model import FittedModel
from spfast.model.in_blocks import add_gram, cholesky, inverse, product
from spfast.model.layout import MAGNITUDE
from spfast.training.stars import TrainingStars

__all__ = ["CoefficientErrors", "SplitErrors"]

#: Rows taken together.
_BLOCK_ROWS = 1024
#: Relative to the scaled diagonal: keeps columns that are the same in all stars from ending the factorisation.
_RIDGE = 1e-10


class CoefficientErrors:
    """Sandwich covariances of a model's coefficients on their support.

    Parameters
    ----------
    model : FittedModel
    stars : TrainingStars
        What it was fitted to, or a sample of that: sums over stars are then as many times larger.

    Attributes
    ----------
    columns : int64 array
        The support, unpenalised columns included.
    """

    def __init__(self, model: FittedModel, stars: TrainingStars):
        self._stars, self._neighbours, self._n_features = stars, model.neighbours, model.n_features
        self._of_training = None
        self.columns = np.flatnonzero((model.coef != 0.0) | ~model.penalized)
        self._ln_parallax = model.linear_predictor(stars.features, stars.rows, stars.threads)
        self._ln_error = model.propagate_ln_error(stars.feature_errors, stars.rows, stars.threads)
        weights = self._weights()
        n = self.columns.size
        curvature, self._response = np.zeros((n, n)), np.zeros(n)
        # Where the weights of the fit are Gaia's, its noise gives the curvature itself.
        self._noise = {source: np.zeros((n, n)) for source in weights["noise"]}
        if np.array_equal(stars.fit_error[stars.rows], stars.gaia_error[stars.rows]):
            self._noise["gaia"] = curvature
        for block, part in self._blocks(stars.rows):
            _add_gram(curvature, part, weights["curvature"][block])
            self._response += weights["slope"][block] @ part
            for source, noise in self._noise.items():
                if noise is not curvature:
                    _add_gram(noise, part, weights["noise"][source][block])
        diagonal = np.diag(curvature)
        self._scale = np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
        curvature = curvature / np.outer(self._scale, self._scale)
        curvature[np.diag_indices(n)] += _RIDGE
        self._inverse = inverse(curvature)
        # Both sums are larger for all the stars that the model saw: H^-1 M H^-1 once smaller.
        share = stars.rows.size / model.n_stars
        for source, noise in self._noise.items():
            raise_if_stopped()
            self._noise[source] = share * noise / np.outer(self._scale, self._scale)

    def terms(self, rows, noise_off=True):
        """Variances of ln parallax of stars that the model did not see, by the source of the noise.

        Parameters
        ----------
        rows : int64 array
        noise_off : bool
            Whether what the noise of the star's own features adds is taken off, which can make a variance negative.

        Returns
        -------
        dict of float64 array, shape (n_rows,)
            Under ``"gaia"`` (times k^2), ``"features"`` and ``"intrinsic"`` (times s^2).
        """
        stars, unscaled = self._stars, self._inverse / self._scale[:, None]
        forms = quadratic_forms(
            [product(unscaled, noise) for noise in self._noise.values()],
            unscaled,
            self.columns,
            stars.features,
            stars.feature_errors if noise_off else None,
            rows,
            stars.threads,
            self._neighbours,
        )
        return dict(zip(self._noise, forms, strict=True))

    def moved_share(self, jackknife, n_folds, gaia_inflation, intrinsic_scatter):
        """How much of these covariances is left with the penalty (float, 1 at most).

        Parameters
        ----------
        jackknife : float64 array, shape (n_rows,)
            Variance of the predictions of the training stars, from models that each leave out one of the folds.
        n_folds : int
        gaia_inflation, intrinsic_scatter : float
        """
        if self._of_training is None:
            self._of_training = self.terms(self._stars.rows, noise_off=False)
        terms = self._of_training
        variance = gaia_inflation**2 * terms["gaia"] + terms["features"] + intrinsic_scatter**2 * terms["intrinsic"]
        # The median of chi-squared in units of its mean: a jackknife of K folds has K - 1 degrees of freedom.
        median = chdtri(n_folds - 1, 0.5) / (n_folds - 1)
        return min(1.0, float(np.median(jackknife / variance)) / median)

    def factor(self, gaia_inflation, intrinsic_scatter):
        """F, with F F' the covariance of the coefficients in ``columns`` (float64 array, shape (n_columns, n_columns)).

        Parameters
        ----------
        gaia_inflation, intrinsic_scatter : float
        """
        noise = gaia_inflation**2 * self._noise["gaia"] + self._noise["features"]
        noise = noise + intrinsic_scatter**2 * self._noise["intrinsic"]
        noise[np.diag_indices_from(noise)] *= 1.0 + _RIDGE
        return product(self._inverse, cholesky(noise)) / self._scale[:, None]

    def moved_by(self, added):
        """What the coefficients change by if all parallaxes are larger, as Newton's step says on the same support.

        Parameters
        ----------
        added : float [mas]

        Returns
        -------
        float64 array, shape (n_features,)
        """
        options, kinds = self._stars.options, self._stars.layout.kinds if self._stars.layout else ()
        change = self._inverse @ (added * self._response / self._scale)
        if options.exact_distance_modulus:  # the sum of the magnitudes' coefficients stays
            of_sum = np.isin(self.columns, np.flatnonzero(np.array(kinds) == MAGNITUDE)) / self._scale
            towards = self._inverse @ of_sum
            change -= towards * (of_sum @ change) / (of_sum @ towards)
        moved = np.zeros(self._n_features)
        moved[self.columns] = change / self._scale
        return moved

    def _weights(self):
        """Of every star in H, in each M, and in the gradient's change with the parallaxes (float64 arrays)."""
        stars = self._stars
        ivar = stars.fit_error[stars.rows] ** -2.0
        predicted = np.exp(self._ln_parallax)
        curvature = ivar * predicted**2
        noise = {
            "gaia": curvature * ivar * stars.gaia_error[stars.rows] ** 2,
            "features": (curvature * self._ln_error) ** 2,
            "intrinsic": curvature**2,
        }
        return {"curvature": curvature, "noise": noise, "slope": ivar * predicted}

    def _blocks(self, rows):
        features = self._stars.features
        for start in range(0, len(rows), _BLOCK_ROWS):
            block = slice(start, min(start + _BLOCK_ROWS, len(rows)))
            yield block, features[rows[block]][:, self.columns].astype(np.float64)


class SplitErrors:
    """The spread of coefficients over repeated inner folds, as a jackknife that leaves out a fold at a time.

    Unlike the sandwich it includes the penalty, pixels that come and go, and misfit that stars have in common. It has
    no more directions than models were fitted.

    Parameters
    ----------
    model : FittedModel
        Fitted to all the training stars.
    stars : TrainingStars
        Of which variances are asked: all of them, or a sample.
    repeats : sequence of sequence of FittedModel
        Fitted without one fold each: of folds that hold out every training star once, several times.

    Attributes
    ----------
    columns : int64 array
        Features that any of the models uses, unpenalised columns included.
    """

    def __init__(self, model: FittedModel, stars: TrainingStars, repeats: Sequence[Sequence[FittedModel]]):
        self._stars, self._neighbours = stars, model.neighbours
        coefs = np.array([[fit.coef for fit in fits] for fits in repeats])
        share = np.sqrt((1.0 - 1.0 / coefs.shape[1]) / len(repeats))
        spread = ((coefs - coefs.mean(axis=1, keepdims=True)) * share).reshape(-1, model.n_features)
        self.columns = np.flatnonzero(spread.any(axis=0) | ~model.penalized)
        self._factor = np.ascontiguousarray(spread[:, self.columns].T)

    def held_out_terms(self, n_folds):
        """As `CoefficientErrors.terms`, of the training stars by models that were trained on a share 1 - 1/K of them.

        All of it is under ``"features"``: k and s are unknown here.

        Parameters
        ----------
        n_folds : int
            K.
        """
        stars = self._stars
        (variance,) = quadratic_forms(
            [self._factor],
            self._factor,
            self.columns,
            stars.features,
            stars.feature_errors,
            stars.rows,
            stars.threads,
            self._neighbours,
        )
        none = np.zeros(variance.size)
        return {"gaia": none, "features": variance * n_folds / (n_folds - 1), "intrinsic": none}

    def factor(self, gaia_inflation, intrinsic_scatter):
        """F, with F F' the covariance of the coefficients in ``columns`` (float64 array, shape (n_columns, n_models)).

        Parameters
        ----------
        gaia_inflation, intrinsic_scatter : float
            Not used: all noise is in the spread.
        """
        return self._factor


def _add_gram(gram, part, weights):
    raise_if_stopped()
    add_gram(gram, part * np.sqrt(weights)[:, None])
