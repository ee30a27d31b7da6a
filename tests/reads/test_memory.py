"""What counts as larger than memory follows from what the process may use, not from what the machine has."""

import os

import pytest

from spfast.reads import memory

MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Control groups that a test writes; returns how."""
    monkeypatch.setattr(memory, "_OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "groups")
    memory.memory_limit.cache_clear()

    def write(own, limits):
        (tmp_path / "own").write_text(own)
        for path, limit in limits.items():
            file = tmp_path / "groups" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{limit}\n")
        return memory.memory_limit()

    yield write
    memory.memory_limit.cache_clear()


def test_without_groups_it_is_the_machines(groups):
    assert memory.memory_limit() == MACHINE


def test_the_smallest_limit_of_a_group_and_those_around_it_holds(groups):
    assert groups("0::/job/step\n", {"job/step/memory.max": "max", "job/memory.max": 3 << 20}) == 3 << 20


def test_a_group_of_the_older_kind_is_known_too(groups):
    limits = {"memory/job/memory.limit_in_bytes": 5 << 20, "memory/memory.limit_in_bytes": 1 << 62}
    assert groups("5:cpu:/\n4:memory:/job\n", limits) == 5 << 20


def test_a_limit_above_the_machines_memory_does_not_count(groups):
    assert groups("0::/\n", {"memory.max": 1 << 62}) == MACHINE
