"""What a log will be understood as, before the first run: `driftline check`."""
