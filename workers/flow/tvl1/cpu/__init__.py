"""TV-L1 on one CPU thread."""
