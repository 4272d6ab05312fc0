"""A run on disk, and the records in its files."""
