"""Numba kernels: plain functions on arrays; no file, no logging."""
