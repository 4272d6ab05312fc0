"""Things a user runs: a demo set, cluster job files, reading a shard."""
