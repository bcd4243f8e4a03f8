"""The whole hub in one process: its database, its command line, its demo day."""
