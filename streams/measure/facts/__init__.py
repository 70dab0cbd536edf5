"""Facts that stage 2 reports to the registry, and registry entries that it applies."""
