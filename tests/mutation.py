"""Do the tests notice? Every small change to a kernel, cut, fold, match or propagation, and whether a test fails.

    python tests/mutation.py [module ...]

The changes are cosmic-ray's. Each is tried in a process of its own, forked after the slow imports, with the compiler of
numba off; the module's tests run until the first failure. Survivors are printed as a line of source before and after;
the exit status is 1 if there is one that `EQUIVALENT` does not explain.
"""

import argparse
import difflib
import os
import signal
import sys
import time
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: Modules and the tests that answer for them.
MODULES = {
    "spfast.kernels.l1": ["tests/kernels/test_l1.py"],
    "spfast.kernels.uncertainty": ["tests/model/test_propagation.py"],
    "spfast.kernels.exp_linear": ["tests/kernels/test_exp_linear.py"],
    "spfast.kernels.coordinate_descent": ["tests/kernels/test_coordinate_descent.py"],
    "spfast.kernels.lbfgs": ["tests/kernels/test_lbfgs.py"],
    "spfast.kernels.cholesky": ["tests/kernels/test_cholesky.py"],
    "spfast.kernels.gram": ["tests/kernels/test_gram.py"],
    "spfast.kernels.bad_pixels": [
        "tests/data/test_bad_pixels.py::test_estimates_are_conditional_means",
        "tests/data/test_bad_pixels.py::test_a_star_does_not_depend_on_the_others",
        "tests/data/test_bad_pixels.py::test_one_pixel_and_all_pixels",
    ],
    "spfast.kernels.continuum": [
        *("-W", "ignore::RuntimeWarning"),  # what the compiler takes for infinity, plain Python warns of
        "tests/data/test_continuum.py",
    ],
    "spfast.model.predict": ["tests/model/test_propagation.py"],
    "spfast.model.budget": ["tests/model/test_budget.py"],
    "spfast.data.match": ["tests/data/test_match.py"],
    "spfast.data.cuts": ["tests/data/test_cuts.py"],
    "spfast.selection.folds": ["tests/selection/test_folds.py"],
}

#: Changes that a reader would call a mistake: another sign, bound, branch, number or loop. Cosmic-ray has many more of
#: each kind (every operator by every other); one of a kind finds what the others find.
OPERATORS = (
    *("ReplaceBinaryOperator_" + pair for pair in ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul")),
    *(
        "ReplaceBinaryOperator_" + pair
        for pair in ("Mod_Add", "Pow_Mul", "BitAnd_BitOr", "BitOr_BitAnd", "BitXor_BitAnd")
    ),
    *("ReplaceComparisonOperator_" + pair for pair in ("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Lt_Gt", "Gt_Lt")),
    *("ReplaceComparisonOperator_" + pair for pair in ("GtE_LtE", "LtE_GtE", "Eq_NotEq", "NotEq_Eq")),
    *("ReplaceUnaryOperator_USub_UAdd", "ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_Delete_USub"),
    *("ReplaceUnaryOperator_Delete_Invert", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr"),
    *("ReplaceOrWithAnd", "AddNot", "NumberReplacer", "ReplaceBreakWithContinue", "ReplaceContinueWithBreak"),
    "ZeroIterationForLoop",
)

#: Survivors that cannot be told from the source by any test, and why: (module, line of source after the change).
_SCRATCH = "a scratch array of one more, which nobody reads"
_FLUSH = "when float32 sums go to float64: their rounding, within the tests' tolerance"
_ROOM, _NEGATIVE = "more room, which nobody reads", "any negative number says the same"
_ANY = "any number near it does"
_NAMES = "different numbers are all that is asked of them"
EQUIVALENT = {
    "spfast.kernels.exp_linear": {
        "r = np.empty( 9, dtype=np.int64)": _SCRATCH,
        "dots = np.empty( 9)": _SCRATCH,
        "factor = np.empty( 9, dtype=design.dtype)": _SCRATCH,
        "for begin in range(bounds[s], bounds[s + 1], 7):": "rows predicted twice, the same",
        "if unflushed > _FLUSH_ROWS or end == bounds[s + 1]:": _FLUSH,
        "if unflushed <= _FLUSH_ROWS or end == bounds[s + 1]:": _FLUSH,
        "if not unflushed >= _FLUSH_ROWS or end == bounds[s + 1]:": _FLUSH,
        **{f"{name} = {value}": _FLUSH for name in ("unflushed", "_FLUSH_ROWS") for value in (1, -1, 255, 257)},
        **{f"unflushed += {value}": _FLUSH for value in (7, 9)},
        "N_SEGMENTS = 31": _ANY,
        "N_SEGMENTS = 33": _ANY,
        "LN_OVERFLOW = 349.0": _ANY,
        "LN_OVERFLOW = 351.0": _ANY,
        "_MAX_SLOPE = 1e+36": "the same number",
        "if dots[k] > LN_OVERFLOW or abs(slope) >= _MAX_SLOPE:": "one number of 1e36",
        "if ivar[i] >= 0.0:": "no weight, no curvature",
        "if ivar[i] > -1.0:": "no weight, no curvature; none is negative",
    },
    "spfast.kernels.bad_pixels": {
        "n_uncertain += error[i] >= error_max": "worked out, and nothing replaced",
        "n_uncertain = 1": "worked out, and nothing replaced",
    },
    "spfast.kernels.continuum": {
        **{
            f"OK, FEW_CONTINUUM_PIXELS, NOT_POSITIVE, SINGULAR = {value}": _NAMES
            for value in ("-1, 1, 2, 3", "0, 1, 2, 4")
        },
        **{
            "_MANTISSA_BITS, _MANTISSA_MASK, _SQRT_HALF_BITS = "
            f"np.int32(23), np.int32(0x007FFFFF), np.int32( {value})": _ANY
            for value in (1060439282, 1060439284)
        },
        **{
            "_THIRD, _FIFTH, _SEVENTH, _NINTH = "
            f"np.float32(1 / 3), np.float32(1 / 5), np.float32(1 / 7), np.float32({value})": "below float32's rounding"
            for value in (" 2 / 9", " 0 / 9", "1 / 10", "1 / 8")
        },
        "weight[i] = np.float32( 2.0) / (error[i] * error[i] + variance[i])": "all weights in the same proportion",
        "coefficients = np.empty((basis.shape[0] + 2) // 2, np.float64)": "an odd number of polynomials, always",
    },
    "spfast.kernels.cholesky": {f"STEP, PIECE = {step}, 64": _ANY for step in (63, 65)},
    "spfast.kernels.coordinate_descent": {
        "derivative += penalties[j] * direction[j] / np.sign(coef[j])": "a sign is 1 or -1",
        "if old == 0.0 and abs(g) < penalties[j]:": "no violation, no step",
        "worst = -1.0": "no tolerance is negative",
        "if 0.0 <= step <= 1.0:": "what is not zero crosses it later",
        "if 0.0 < step < 1.0:": "a zero at the end of the whole step: 1 either way",
        **{
            f"step = -coef[j] / direction[j] if direction[j] != 0.0 else {value}": "one that stays adds nothing"
            for value in ("+1.0", "1.0", "- 2.0", "- 0.0")
        },
        "if derivative + curvature * crossing[k] > 0.0:": "at a zero the step ends there by the other condition",
        "continue": "the slope grows from zero to zero",
    },
    "spfast.kernels.gram": {
        "for j in range(max(left, i + 0), right):": "the diagonal onto itself",
        "for j in range(max(left, i - 1), right):": "back to where it came from",
        "COMPLEMENT_COLUMNS, _COMPLEMENT_ROWS = 64, 31": _ANY,
        "COMPLEMENT_COLUMNS, _COMPLEMENT_ROWS = 64, 33": _ANY,
    },
    "spfast.kernels.l1": {
        "if value <= -threshold:": "value + threshold is the same zero",
        "if value >= threshold:": "value - threshold is the same zero",
        "if v <= 0.0:": "zero becomes zero",
        "if v >= worst or math.isnan(v):": "the same number again",
        "continue": "after a NaN nothing is larger; only violations that nobody may use are written",
    },
    "spfast.model.predict": {
        "return linear_predictors(design, coef[None], rows, threads)[ -1]": "of one, the first is the last",
        "pieces = -(-rows.size * ROWS_A_PIECE)": "more pieces, without rows",
        "pairs, correlation = (np.concatenate(part) for part in zip(*found, strict=False))": "pairs by construction",
        "_PHASES = 512": _ANY,
        "_PHASES = 514": _ANY,
        "phase = np.linspace( -1.0, np.pi, _PHASES)": "cosines are even: some phases twice",
        "at = np.minimum(np.searchsorted(place, place + lag), max(place.size - 1, -1))": "no features, no places",
    },
    "spfast.model.budget": {
        "@dataclass(frozen=False)": "nobody writes to it",
        "offset_basis(x, *row[:4]) @ row[4:] for x, row in zip((colour, ln_parallax), self.offset, strict=False)": ""
        "two rows, which are checked when it is read",
        "_BLOCK_ROWS = 1023": _ANY,
        "_BLOCK_ROWS = 1025": _ANY,
    },
    "spfast.selection.folds": {
        "shared = np.full(source.max(initial=+1) + 1, -1, dtype=np.int64)": _ROOM,
        "shared = np.full(source.max(initial=1) + 1, -1, dtype=np.int64)": _ROOM,
        "shared = np.full(source.max(initial=- 0) + 1, -1, dtype=np.int64)": _ROOM,
        "shared = np.full(source.max(initial=-1) + 2, -1, dtype=np.int64)": _ROOM,
        "shared = np.full(source.max(initial=-1) + 1, - 2, dtype=np.int64)": _NEGATIVE,
        "return np.full(len(stars), - 2, dtype=np.int64)": _NEGATIVE,
        "width = max(names.dtype.itemsize * 4, 1)": _ROOM,
        "width = max(names.dtype.itemsize // 3, 1)": _ROOM,
        "width = max(names.dtype.itemsize // 4, 2)": _ROOM,
        "width = max(names.dtype.itemsize // 4, 0)": "a table's text has at least one character",
        "_, component = connected_components(graph, directed=True)": "weakly connected by default: the same",
        'characters = np.frombuffer(names.astype(f"S{width}").tobytes(), dtype=np.uint8)'
        ".reshape(- 2, width)": _NEGATIVE,
        "@dataclass(frozen=False)": "nobody writes to it",
        "start, end = (np.concatenate(side) for side in zip(*edges, strict=False))": "of one length by construction",
        'lines = sorted(f"{str(name).strip()} {label}" for name, label in '
        'zip(stars["APOGEE_ID"], labels, strict=False))': "labels are made from the stars",
    },
    "spfast.data.match": {
        "if apart.size and np.median(apart) >= _APART_MAX:": "no sum of sines is a sixtieth exactly",
        "apart = np.degrees(2 * np.arcsin(np.sqrt(np.minimum(square, 2.0))))": "above 1 only by rounding, at opposite "
        "points: NaN there, which is left out",
    },
}

_SECONDS = 60
_PYTEST = ("-q", "-x", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "--tb=no")


class Finder:
    """Gives one module another source."""

    def __init__(self, name, path, source):
        self.name, self.path, self.source = name, path, source

    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self, origin=str(self.path)) if name == self.name else None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.__file__ = str(self.path)
        exec(compile(self.source, str(self.path), "exec"), module.__dict__)


def mutants(source):
    """Yield each changed source, once."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    seen = {source}
    for name in OPERATORS:
        operator, occurrence = get_operator(f"core/{name}")(), 0
        while (changed := mutate_code(source, operator, occurrence)) is not None:
            occurrence += 1
            if changed not in seen:
                seen.add(changed)
                yield changed


def survives(module, path, source, tests):
    """Whether the tests pass with another source of a module."""
    import pytest

    child = os.fork()
    if child == 0:
        signal.alarm(_SECONDS)  # ends the process
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        sys.meta_path.insert(0, Finder(module, path, source))
        code = 1
        try:
            code = pytest.main([*_PYTEST, *tests])
        finally:
            os._exit(int(code))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def changed_lines(source, changed):
    lines = difflib.unified_diff(source.splitlines(), changed.splitlines(), n=0, lineterm="")
    return [line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", help=f"of {', '.join(MODULES)} (default: all)")
    args = parser.parse_args()
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    for name in ("numba", "scipy.sparse.csgraph", "astropy.table", "astropy.io.fits", "scipy.special", "pytest"):
        import_module(name)
    unexplained = 0
    for module in args.modules or MODULES:
        path, start = ROOT / (module.replace(".", "/") + ".py"), time.monotonic()
        source = path.read_text(encoding="utf-8")
        if not survives(module, path, source, MODULES[module]):
            sys.exit(f"{module}: its tests fail without a change")
        alive, count = [], 0
        for changed in mutants(source):
            count += 1
            if survives(module, path, changed, MODULES[module]):
                alive.append(changed_lines(source, changed))
        known = EQUIVALENT.get(module, {})
        seconds = time.monotonic() - start
        print(f"{module}: {count} changes, {count - len(alive)} noticed, {len(alive)} not; {seconds:.0f} s", flush=True)
        for lines in alive:
            after = lines[-1][1:].strip()
            reason = known.get(after)
            unexplained += reason is None
            print("  " + "\n  ".join(lines), f"\n    {reason or 'NOT EXPLAINED'}", flush=True)
    sys.exit(unexplained > 0)


if __name__ == "__main__":
    os.environ["NUMBA_DISABLE_JIT"] = "1"  # before numba is imported
    main()
