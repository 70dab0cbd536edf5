"""Timing: how far event time has come and which windows are due. No counts in here."""
