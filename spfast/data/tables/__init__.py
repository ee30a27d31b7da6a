"""Tables in any format: read by one door, written by another."""
