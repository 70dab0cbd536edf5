"""Figures: from merged counts to the records of `metrics` and `histograms`."""
