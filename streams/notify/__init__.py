"""Plans which notification is sent when, and what it says. Sending is left to `agents/notify`."""
