"""Survey files in, a survey folder out."""
