"""Access to the broker: clients, topics, record formats, retries and failures."""
