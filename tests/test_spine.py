"""The package's imports only ever point down the spine, and importing it loads nothing heavy."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import spfast

PACKAGE = Path(spfast.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# A part may import itself, what stands to the right of it in one of these two rows, and what is free to all.
SPINE = (
    "cli",
    "report",
    "figures",
    "validation",
    "catalog",
    "training",
    "selection",
    "model",
    "solvers",
    "reads",
    "kernels",
)
_DATA_MAY_USE = (
    *("apogee", "layout", "low_rank", "learn_low_rank", "model_file"),
    *("recipe", "band_regression", "coordinates"),
)
BESIDE = {
    "archive": {"data"},
    "data": {"archive.releases", "kernels", "reads.cluster", *(f"model.{name}" for name in _DATA_MAY_USE)},
    "simulate": {"archive.releases", "data", "model.apogee", "model.layout", "kernels"},
}
BELOW = {part: {part, *SPINE[i + 1 :]} for i, part in enumerate(SPINE)}
for part in SPINE[: SPINE.index("selection")]:
    BELOW[part] |= {"data", "archive.releases"}
BELOW["cli"] |= {"archive", "simulate", "warmup"}
BELOW |= {part: {part, *others} for part, others in BESIDE.items()}
BELOW |= {"warmup": {"data", "model", "solvers", "kernels"}, "__main__": {"cli"}, "__init__": set()}
FREE = {"blas", "config", "errors", "files", "lock", "progress"}
OPTIONAL = {
    "matplotlib",
    "h5py",
    "dask",
    "distributed",
    "astroquery",
    "pyvo",
    "fitsio",
    "pyarrow",
    "zero_point",
    "pandas",
    "sklearn",
    "joblib",
}


def imports_of(path):
    """(module, whether importing the file imports it) of every import, functions' included; relative ones resolved."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    at_import = {id(node) for node in _outside_functions(tree)}
    package = ["spfast", *path.relative_to(PACKAGE).parent.parts]
    found = []
    for node in ast.walk(tree):
        now = id(node) in at_import
        if isinstance(node, ast.Import):
            found += [(alias.name, now) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, node.module] if node.module else base)
            for alias in node.names:
                # "from spfast.model import layout" imports the module spfast.model.layout
                inner = PACKAGE.parent.joinpath(*module.split("."), alias.name)
                is_module = inner.is_dir() or inner.with_suffix(".py").is_file()
                found.append((f"{module}.{alias.name}" if is_module else module, now))
    return found


def _outside_functions(node):
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _outside_functions(child)


def breaches(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert part in BELOW or part in FREE, f"{path}: the spine does not say where {part!r} stands"
    allowed = BELOW.get(part, set()) | FREE
    bad = []
    for module, _ in imports_of(path):
        top, _, inside = module.partition(".")
        # Of the package itself only the version may be used: its other names would import from anywhere.
        if top == "spfast" and inside and not any(inside == a or inside.startswith(f"{a}.") for a in allowed):
            bad.append(module)
    return bad


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down_the_spine(path):
    assert breaches(path) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_optional_packages_are_imported_where_they_are_used(path):
    # A class of scikit-learn's kind needs it when it is made: that whole module is imported where it is used.
    needed = {"sklearn", "joblib"} if path.name == "estimator.py" else set()
    assert [m for m, now in imports_of(path) if now and m.split(".")[0] in OPTIONAL - needed] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_package_itself_gives_only_its_version(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module == "spfast" and not n.level]
    modules = {p.stem for p in PACKAGE.iterdir()}
    assert {a.name for n in nodes for a in n.names} - modules <= {"__version__"}


def test_kernels_need_only_numpy_and_numba_with_its_compiler():
    for path in (PACKAGE / "kernels").glob("*.py"):
        tops = {module.split(".")[0] for module, _ in imports_of(path)}
        assert tops - set(sys.stdlib_module_names) <= {"numpy", "numba", "llvmlite", "spfast"}, path


def test_the_reader_sees_a_breach(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path / "spfast")
    folder = tmp_path / "spfast" / "kernels"
    folder.mkdir(parents=True)
    (tmp_path / "spfast" / "model").mkdir()
    path = folder / "wrong.py"
    path.write_text("def f():\n    from ..model import layout\n    import spfast.catalog.make\n    import numpy\n")
    assert breaches(path) == ["spfast.model", "spfast.catalog.make"]


def test_import_is_light():
    code = (
        "import time, json, sys; t = time.perf_counter(); import spfast; "
        "print(json.dumps([time.perf_counter() - t, sorted(sys.modules)]))"
    )
    seconds, modules = [], set()
    for _ in range(3):
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        elapsed, loaded = json.loads(run.stdout)
        seconds.append(elapsed)
        modules |= {name.split(".")[0] for name in loaded}
    assert not modules & OPTIONAL
    assert min(seconds) < 0.5


def test_public_names_exist():
    for name in spfast.__all__:
        assert getattr(spfast, name) is not None
    assert set(spfast.__all__) <= set(dir(spfast))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = spfast.nonsense
