"""Minimisers of the L1-penalised objective."""
