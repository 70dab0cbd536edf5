"""The alert rules, one file each.

A new file with a tagged struct below `driftline.streams.decide.rule.Rule` is a new rule.
"""
