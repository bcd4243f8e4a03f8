"""Intake by bus: what records systems post on the inbound topic, each message answered on the reply topic."""
