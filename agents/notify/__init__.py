"""Sends notifications to people."""
