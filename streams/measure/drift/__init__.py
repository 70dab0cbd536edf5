"""Drift: the detection window of a version, compared with the reference in force."""
