"""Keyed state of the stages: changes in memory over what lies in RocksDB. Both drivers use it."""
