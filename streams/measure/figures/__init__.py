"""From merged counts to figures and to the records of `metrics` and `histograms`."""
