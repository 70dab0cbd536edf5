"""Recorded logs on disk: reading, merging, sorting and writing them. Both drivers use it."""
