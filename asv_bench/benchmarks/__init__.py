"""Benchmarks of spfast, run by asv."""
