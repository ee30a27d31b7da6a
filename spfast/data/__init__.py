"""From tables and spectra to a survey folder: read, match, cut and normalise; open and verify what was built."""
