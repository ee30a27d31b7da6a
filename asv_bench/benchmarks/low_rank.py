"""A pass over spectra that improves a low-rank basis, in units of the two matrix products that it cannot do without.

Both are of float32, on the same threads: inverse variances (stars x pixels) with the pairwise products of the factors,
which gives each star its normal matrix, and pairs of coordinates with inverse variances, which gives each pixel its
own. To print the table of docs/benchmarks.rst::

    cd asv_bench && python -m benchmarks.low_rank
"""

import time

import numpy as np
from threadpoolctl import threadpool_limits

#: Stars, pixels and ranks.
N_STARS, N_PIXELS, RANKS, THREADS = 2048, 7405, [24, 48, 96], [1, 2]
SEED, ROUNDS = 7, 5


class LearningPass:
    params = (RANKS, THREADS)
    param_names = ("rank", "threads")
    timeout = 600

    def setup(self, rank, threads):
        from spfast.model.learn_low_rank import _Learning, _Spectra

        rng = np.random.default_rng(SEED)
        factors = rng.normal(size=(rank, N_PIXELS)).astype(np.float32) / 20
        flux = rng.normal(size=(N_STARS, rank)).astype(np.float32) @ factors
        errors = rng.uniform(0.005, 0.03, flux.shape).astype(np.float32)
        flux += errors * rng.normal(size=flux.shape).astype(np.float32)
        errors[rng.random(flux.shape) < 0.15] = np.inf
        spectra = _Spectra(flux, errors, None, np.arange(N_PIXELS))
        self.learning = _Learning(spectra, np.arange(N_STARS), False, threads)
        self.basis = self.learning.first(rank)
        n_pairs = rank * (rank + 1) // 2
        self.threads = threads
        self.weights = np.float32(1.0) / np.square(errors)
        self.of_factors = rng.normal(size=(n_pairs, N_PIXELS)).astype(np.float32)
        self.of_stars = rng.normal(size=(N_STARS, n_pairs)).astype(np.float32)
        self.time_pass(rank, threads)

    def time_pass(self, rank, threads):
        from spfast.blas import one_blas_thread

        with one_blas_thread():
            return self.learning.improve(self.basis)

    def time_products(self, rank, threads):
        with threadpool_limits(self.threads, "blas"):
            return self.weights @ self.of_factors.T, self.of_stars.T @ self.weights

    def track_pass_in_products(self, rank, threads):
        ratios = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            self.time_pass(rank, threads)
            middle = time.perf_counter()
            self.time_products(rank, threads)
            ratios.append((middle - start) / (time.perf_counter() - middle))
        return float(np.median(ratios))


def main() -> None:
    """Print seconds of a pass, seconds of the products and their ratio."""
    print(f"{N_STARS} stars x {N_PIXELS} pixels\nrank threads   pass  products  ratio")
    for rank in RANKS:
        for threads in THREADS:
            benchmark, seconds = LearningPass(), []
            benchmark.setup(rank, threads)
            for function in (benchmark.time_pass, benchmark.time_products):
                start = time.perf_counter()
                function(rank, threads)
                seconds.append(time.perf_counter() - start)
            ratio = benchmark.track_pass_in_products(rank, threads)
            print(f"{rank:4} {threads:7} {seconds[0]:6.2f} {seconds[1]:9.2f} {ratio:6.2f}", flush=True)


if __name__ == "__main__":
    main()
