"""The gateway's pure rules: packages, rendering, answers, retries, routing."""
