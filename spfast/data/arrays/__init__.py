"""Surveys of any spectrograph, from arrays and a table of their stars."""
