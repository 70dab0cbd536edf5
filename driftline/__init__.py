"""Driftline: how machine-learning models are doing while their ground truth is still arriving."""
