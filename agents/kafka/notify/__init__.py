"""The notifier: tells people about alerts, with its state in a changelog of its own."""
