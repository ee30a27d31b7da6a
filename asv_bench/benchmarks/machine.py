"""Describe the machine that the measurements were made on."""

import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

PACKAGES = ("spfast", "numpy", "scipy", "numba", "llvmlite", "astropy")


def describe(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return the processor, its cores and caches, the memory and the versions."""
    return {
        "processor": _line("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "caches": ", ".join(_caches()),
        "memory": _memory(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": ", ".join(f"{name} {_version(name)}" for name in packages),
        "blas": _blas(),
    }


def load() -> float:
    """Return the load average of the last minute: how busy the machine is."""
    return os.getloadavg()[0]


def anonymous_memory() -> float:
    """Return the anonymous memory of this process, that is without mapped files [MiB]."""
    return int(_line("/proc/self/status", "RssAnon").split()[0]) / 1024.0


def _line(path, key):
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)


def _caches():
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            yield f"L{level} {size}"


def _memory():
    line = _line("/proc/meminfo", "MemTotal")
    return f"{int(line.split()[0]) / 1024**2:.1f} GiB" if line else "unknown"


def _version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _blas():
    import numpy as np

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{blas['name']} {blas['version']} (numpy's)"
