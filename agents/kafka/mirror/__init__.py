"""Follows the results on a broker and keeps the mirror in Redis (`[redis]`)."""
