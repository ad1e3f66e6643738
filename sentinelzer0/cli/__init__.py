"""The command ``sentinelzer0`` (short ``sz0``): nouns, then verbs; data on stdout, everything else on stderr."""
