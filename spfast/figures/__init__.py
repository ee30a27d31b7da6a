"""The figures: the paper's, the checks', and those of two catalogs side by side."""
