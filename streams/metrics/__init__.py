"""Performance metrics, one file each. The catalogue finds them here."""
