"""The kernels of the Gram matrix and its factor, and the functions of BLAS and LAPACK that could replace them.

All on one thread, in float32 and in processor time; ``docs/benchmarks.rst`` has a table. To print one, in Gflop/s::

    cd asv_bench && python -m benchmarks.linear_algebra
"""

import time
from contextlib import ExitStack

import numpy as np
from scipy.linalg.blas import ssyrk  # before BLAS is held to one thread: a library loaded later would not be
from scipy.linalg.lapack import spotrf

#: Rows and columns of the matrix (about those of Problem F), and how many columns the products take.
N_ROWS, N_FEATURES = 14000, 7414
SIZES = [200, 816, 2000]
SEED = 3
#: The factor's columns are chosen from a Gram matrix that is larger by this share.
_SPARE = 0.25
_ROUNDS = 5


class _OneThread:
    params = (SIZES,)
    param_names = ("K",)
    timer = time.process_time
    timeout = 600

    def setup(self, n_columns):
        from spfast.blas import one_blas_thread

        self.stack = ExitStack()
        self.stack.enter_context(one_blas_thread())
        self.random = np.random.default_rng(SEED)

    def teardown(self, n_columns):
        self.stack.close()


class GramProducts(_OneThread):
    """The weighted Gram matrix of K columns of a wide matrix: panels, and ssyrk on blocks of the same rows."""

    @staticmethod
    def gflop(n_columns: int) -> float:
        """Return the multiplications and additions of the upper triangle, in units of 1e9."""
        return 1e-9 * N_ROWS * n_columns * (n_columns + 1)

    def setup(self, n_columns):
        from spfast.kernels import gram
        from spfast.kernels.panels import panel_tiles

        super().setup(n_columns)
        self.design = self.random.random((N_ROWS, N_FEATURES), dtype=np.float32)
        self.columns = np.sort(self.random.permutation(N_FEATURES)[:n_columns])
        self.weights = self.random.uniform(0.5, 2.0, N_ROWS)
        self.root = np.sqrt(self.weights).astype(np.float32)[:, None]
        block = gram.new_block(n_columns, N_ROWS, np.float32)
        depth = block.shape[1]
        self.parts = [slice(begin, min(begin + depth, N_ROWS)) for begin in range(0, N_ROWS, depth)]
        self.tiles = panel_tiles(0, n_columns)
        self.panels = [np.zeros_like(block) for _ in self.parts]
        self.blocks = [np.empty((part.stop - part.start, n_columns), np.float32) for part in self.parts]
        self.raw = np.zeros((block.shape[0] * block.shape[2],) * 2, np.float32)
        self.product = np.zeros((n_columns, n_columns), np.float32, order="F")
        self.time_panels_with_gather(n_columns)
        self.time_ssyrk_with_gather(n_columns)
        upper = np.triu_indices(n_columns)
        np.testing.assert_allclose(self.raw[upper], self.product[upper], rtol=1e-4)

    def time_panels(self, n_columns):
        for part, panels in zip(self.parts, self.panels, strict=True):
            self._add_panels(part, panels)

    def time_panels_with_gather(self, n_columns):
        for part, panels in zip(self.parts, self.panels, strict=True):
            self._gather_panels(part, panels)
            self._add_panels(part, panels)

    def time_ssyrk(self, n_columns):
        for block in self.blocks:
            self._add_ssyrk(block)

    def time_ssyrk_with_gather(self, n_columns):
        for part, block in zip(self.parts, self.blocks, strict=True):
            np.take(self.design[part], self.columns, axis=1, out=block)
            block *= self.root[part]
            self._add_ssyrk(block)

    def _gather_panels(self, part, panels):
        from spfast.kernels.gram import gather_rows

        rows, none = np.arange(part.start, part.stop), np.zeros(0, np.int64)
        explained = np.zeros((0, self.columns.size), np.float32)
        gather_rows(
            *(0, rows.size, self.design, rows, self.weights[part]),
            *(none, np.zeros((0, 0)), self.columns, explained, panels),
        )

    def _add_panels(self, part, panels):
        from spfast.kernels.panels import add_panel_products

        depth = part.stop - part.start
        add_panel_products(0, len(self.tiles), panels, depth, self.tiles, np.float32(1.0), self.raw)

    def _add_ssyrk(self, block):
        ssyrk(1.0, block.T, beta=1.0, c=self.product, overwrite_c=1)


class Factor(_OneThread):
    """The Cholesky factor of K rows and columns of a larger Gram matrix: the solver's own, and spotrf's."""

    @staticmethod
    def gflop(n_columns: int) -> float:
        """Return the multiplications and additions of a factorisation, in units of 1e9."""
        return 1e-9 * n_columns**3 / 3

    def setup(self, n_columns):
        from spfast.kernels.team import Team
        from spfast.solvers.quadratic import new_scratch

        super().setup(n_columns)
        n = int((1.0 + _SPARE) * n_columns)
        matrix = self.random.normal(size=(2 * n, n)).astype(np.float32)
        self.store = matrix.T @ matrix
        self.support = np.sort(self.random.permutation(n)[:n_columns])
        self.team, self.scratch = self.stack.enter_context(Team(1)), new_scratch()
        upper = np.triu_indices(n_columns)
        ours, lapack = self.time_cholesky_with_gather(n_columns), self.time_spotrf_with_gather(n_columns)
        np.testing.assert_allclose(ours[upper], lapack[upper], atol=1e-4 * np.abs(lapack[upper]).max())

    def time_cholesky_with_gather(self, n_columns):
        from spfast.solvers.quadratic import factor_support

        return factor_support(self.store, self.support, self.scratch, self.team)

    def time_spotrf_with_gather(self, n_columns):
        matrix = self.store[np.ix_(self.support, self.support)]
        matrix[np.diag_indices(n_columns)] *= np.float32(1.0 + 1e-6)
        factor, info = spotrf(matrix.T, overwrite_a=1, clean=0)  # symmetric: the transpose has Fortran's order
        assert info == 0
        return factor


def main() -> None:
    """Print the best rate of each kernel in `_ROUNDS` rounds, taken in turn."""
    for benchmark in (GramProducts(), Factor()):
        for n_columns in SIZES:
            benchmark.setup(n_columns)
            names = [name for name in dir(benchmark) if name.startswith("time_")]
            seconds = {name: [] for name in names}
            for _ in range(_ROUNDS):
                for name in names:
                    begin = time.process_time()
                    getattr(benchmark, name)(n_columns)
                    seconds[name].append(time.process_time() - begin)
            benchmark.teardown(n_columns)
            for name in names:
                print(
                    f"K = {n_columns:5d}  {name[5:]:22s} {benchmark.gflop(n_columns) / min(seconds[name]):6.1f} Gflop/s"
                )


if __name__ == "__main__":
    main()
