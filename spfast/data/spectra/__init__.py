"""From spectra to feature rows: continuum, bad pixels, features, and the processes that make them."""
