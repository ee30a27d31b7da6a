"""From a survey to models: penalty, zero point, fit and error budget, each from the training stars of one fold."""
