"""The layouts on disk: shards, stores, flow files; and the one way in which files are written."""
