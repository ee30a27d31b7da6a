"""The report: one HTML page on a catalog."""
