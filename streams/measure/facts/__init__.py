"""What stage 2 reports to the registry, and what it takes from it."""
