"""Keyed state of the stages, for both drivers: recent changes in memory, the rest in RocksDB."""
