"""Referrals to post in a benchmark: the demo day's own, each posted once."""

from hub_embedded.demo.generator import submissions
from hub_embedded.demo.referrals import SYSTEM

__all__ = ["SYSTEM", "bodies"]


def bodies(count: int, *, seed: str) -> list[bytes]:
    """So many new referrals as JSON, the same for the same seed, never the same record for two seeds."""
    made = []
    number = sum(seed.encode())
    for submission in submissions(count, seed=number):
        if submission.kind == "referral":
            record = submission.record_id.encode()
            made.append(submission.body.replace(record, f"{seed}-{submission.record_id}".encode(), 1))
    return made
