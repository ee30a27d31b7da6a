"""Compiling ahead: every kernel is visited, later fits compile nothing, and without a place to write all still runs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from numba import float64
from numba.experimental import jitclass
from problems import small_problem

import spfast
from spfast import cli
from spfast.kernels.jit import compile_seconds
from spfast.warmup import warm_up

# Run where nothing is cached: kernels that are called by others have signatures only where they were compiled.
EVERY_KERNEL = """
import importlib, pkgutil
from numba.core.registry import CPUDispatcher
from spfast import kernels
from spfast.warmup import warm_up
seconds, compiling = warm_up(threads=2)
assert 1.0 < compiling <= seconds
for found in pkgutil.iter_modules(kernels.__path__):
    for name, kernel in vars(importlib.import_module(f"spfast.kernels.{found.name}")).items():
        if isinstance(kernel, CPUDispatcher) and not kernel.signatures:
            print(f"not visited: {found.name}.{name}")
print(kernels.__file__)
"""


def test_after_a_warm_up_fits_compile_nothing(tmp_path):
    warm_up(threads=2)
    before = compile_seconds()
    for dtype in (np.float32, np.float64):
        problem = small_problem(n_stars=300, dtype=dtype)
        np.save(tmp_path / "x.npy", problem.design)
        for design in (problem.design, np.load(tmp_path / "x.npy", mmap_mode="r")):
            model = spfast.fit(design, *problem.arguments[1:], penalty=20.0, penalized=problem.penalized, threads=2)
            model.predict_error(design, np.full_like(design, 0.01))
    assert compile_seconds() == before


def test_other_peoples_compiled_classes_still_compile():
    @jitclass([("value", float64)])
    class Number:
        def __init__(self, value):
            self.value = value

        def twice(self):
            return 2.0 * self.value

    before = compile_seconds()
    assert Number(21.0).twice() == 42.0
    assert compile_seconds() == before


def test_the_command_says_how_long_it_took(capsys):
    assert cli.main(["warmup", "--threads", "1"]) == 0
    assert "ran every kernel in" in capsys.readouterr().out


def test_every_kernel_is_visited_even_with_no_place_to_write_and_one_line_says_how_long(tmp_path):
    package = tmp_path / "spfast"
    shutil.copytree(Path(spfast.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [package, *(path for path in package.rglob("*") if path.is_dir())]:
        (folder / "__pycache__").write_text("a file where numba wants a folder")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA", "XDG"))}
    environment |= {"HOME": os.devnull, "PYTHONDONTWRITEBYTECODE": "1", "NUMBA_OPT": "0"}  # compiles in half the time
    call = [sys.executable, "-c", EVERY_KERNEL]
    done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [str(package / "kernels" / "__init__.py")], done.stdout + done.stderr
    assert done.stderr.count("\n") == 1
    assert "spfast: compiled its kernels in" in done.stderr
