"""A real Kafka broker on this machine: its jars, its settings, its process and its certificates."""
