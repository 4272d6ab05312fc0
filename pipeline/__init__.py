"""When and where shards are made, and learning over the store: two wings that meet only on disk."""
