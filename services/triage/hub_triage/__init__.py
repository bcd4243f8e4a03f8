"""Triage: how dangerous each referral is, by when it must be decided, and what was decided."""
