"""The schema of partner-gateway, step by step."""
