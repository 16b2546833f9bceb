"""The labels of clips, kept in folders of shards that any number of processes write and read."""
