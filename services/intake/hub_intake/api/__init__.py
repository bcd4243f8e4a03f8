"""Intake over HTTP, and in `by_bus` over Kafka: referrals, what changes them later, and reading them back."""
