"""The oracle: slow and obvious batch code that computes from the raw events what the pipeline must
emit.

It imports the standard library alone and shares no code with `schemas`, `streams` and `agents`.
`recorded.py` reads the log, `joining.py` joins truths with predictions, `figures.py` counts in
windows, `label_rules.py` says which labels are one class and which are strays, `label_sets.py`
which of them are known when, `verdict.py` compares with the output of a run.
"""
