"""Learning over a store: it meets the extraction only on disk."""
