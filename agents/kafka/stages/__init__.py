"""Processors: the stages of the pipeline behind the interface of a task."""
