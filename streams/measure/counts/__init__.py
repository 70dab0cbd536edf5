"""Counts: merging the partials of all partitions into panes and windows."""
