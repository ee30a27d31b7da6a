"""Folds and cross-validation."""
