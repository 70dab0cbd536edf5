"""Drift: the detection window of a version against the reference in force."""
