"""Tables as input: CSV, Parquet and data frames, and what becomes of each column."""
