"""``sentinelzer0 demo``: one story on real network data, lived through on a workspace of its own."""
