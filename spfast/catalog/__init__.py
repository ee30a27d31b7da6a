"""Catalogs and predictions: every star's parallax by a model that never saw the star."""
