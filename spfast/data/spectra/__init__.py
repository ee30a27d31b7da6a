"""From spectrum files to normalised fluxes: find and read them, fit the continuum, estimate bad pixels, in parallel."""
