"""What oversight shows, folded and worded without a database: referrals, timelines and figures."""
