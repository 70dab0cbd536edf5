"""Changelog of a task: journal, compaction, local copy and restore."""
