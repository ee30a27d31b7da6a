"""What comes out: catalog and validation."""
