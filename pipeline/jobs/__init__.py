"""A plan becomes files: prepared, estimated, made by an engine, shown while it goes."""
