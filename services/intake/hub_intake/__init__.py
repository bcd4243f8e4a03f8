"""Intake: takes in the referrals police records systems post, and what they later change."""
