"""Intake over HTTP: referrals one by one and in bulk, what changes them later, and reading them back."""
