"""Windows that users describe: which values of a key belong together, and how they are aggregated."""
