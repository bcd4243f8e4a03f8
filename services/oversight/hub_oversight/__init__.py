"""Oversight: what leaders see of every referral, its deadlines and its deliveries, from facts heard."""
