"""The alert rules, one file each. A new file with a tagged struct below `streams.decide.rule.Rule` is a new rule."""
