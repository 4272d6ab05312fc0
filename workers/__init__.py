"""How one shard is made. Runs anywhere, with or without Ray."""
