"""Sequential detectors: statistics that gather evidence over time. They know no records and no
rules.
"""
