"""How much memory this process may use: the machine's, or what a batch system or a container leaves it of that."""

import os
from functools import cache
from pathlib import Path

__all__ = ["memory_limit"]

#: Where Linux says which control groups a process is in, and where these are.
_OWN_GROUPS, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


@cache
def memory_limit() -> int:
    """Return the bytes of memory that this process may use, files that are mapped included."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    try:
        groups = [line.split(":", 2) for line in _OWN_GROUPS.read_text().splitlines()]
    except OSError:
        return limits[0]
    for _, controllers, path in groups:
        if controllers == "":
            root, name = _GROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = _GROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = root / path.lstrip("/")
        # A limit on a group holds for those within it.
        limits += [_limit_of(folder / name) for folder in (group, *group.parents) if folder.is_relative_to(root)]
    return min(limit for limit in limits if limit > 0)


def _limit_of(path):
    """The limit in a file; 0 where there is none."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
