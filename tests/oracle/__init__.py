"""Slow, obvious batch code that computes from the raw events what the pipeline must announce.

It imports the standard library alone and shares no line with `schemas`, `streams` and `agents`. The
way of a figure: `recorded.py` reads the log, `joining.py` says which truth holds for which
prediction, `figures.py` counts in windows, `verdict.py` compares with what a run wrote.
"""
