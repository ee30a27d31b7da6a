"""One fit: the feature layout, the objective, the start, the penalty path, prediction and the fitted model."""
