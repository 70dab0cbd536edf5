"""Mergeable summaries of values: numeric bins, text counts, features, log-linear histograms."""
