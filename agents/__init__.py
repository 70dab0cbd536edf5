"""The edge of Driftline: everything that touches a file, a socket, a terminal or a clock."""
