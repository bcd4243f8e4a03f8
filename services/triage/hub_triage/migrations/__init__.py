"""The schema ``triage``, step by step."""
