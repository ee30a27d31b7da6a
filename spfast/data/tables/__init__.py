"""Tables in any format: reading, writing, and bringing columns to the types and units of a survey."""
