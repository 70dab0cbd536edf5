"""Objectives of the tuner, one file each."""
