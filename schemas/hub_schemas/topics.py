"""The names of the topics: facts, inbound referrals and their replies, contacts for partners."""

from typing import Final

INBOUND_TOPIC: Final = "referrals.inbound.v1"
"""Where records systems post by bus; the broker stamps each record's time (LogAppendTime)."""
REPLIES_TOPIC: Final = "referrals.replies.v1"
"""Where each inbound message is answered, under the message's own id. Nothing personal."""


def facts_topic(source: str) -> str:
    """The topic of one service's facts; ``source`` is its schema, the name it has on the bus."""
    return f"hub.{source}.facts.v1"


def partner_topic(authority: str, agency: str) -> str:
    """The topic one agency of one authority reads its contacts from, by the codes the schemas give both."""
    return f"partner.{authority}.{agency}.v1"
