"""Drift tests between a reference and a current summary, one file each. The catalogue finds them
here.
"""
