"""The alert rules, one file each.

A file with a tagged struct derived from `driftline.streams.decide.rule.Rule` is a rule.
"""
