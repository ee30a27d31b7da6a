"""What to ask the archives for: releases as data, the list of spectra, and the query of Gaia's archive."""
