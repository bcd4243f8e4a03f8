"""The schema of oversight, step by step."""
