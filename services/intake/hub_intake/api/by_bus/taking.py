"""Taking in an inbound message: the same tokens, the same operations and the same refusals as HTTP."""

from hub_intake.api.by_bus.messages import Posted, authorization, read_message
from hub_intake.api.receiving import Receipt, Receiving, Sender, sender_of
from hub_kernel.auth import TokenVerifier, bearer_token
from hub_kernel.errors import Forbidden
from hub_kernel.ports import Message
from hub_kernel.telemetry import span
from hub_schemas.inbound import AMENDED, INFORMED, SUBMITTED, WITHDRAWN


class Taking:
    """Hands what a message asks for to the operations behind HTTP. Safe to repeat, as those are."""

    def __init__(self, receiving: Receiving, verifier: TokenVerifier, max_body_bytes: int) -> None:
        self._receiving, self._verifier = receiving, verifier
        self.max_body_bytes = max_body_bytes

    def sender(self, message: Message) -> Sender:
        """The records system that posted it, by a token valid when the broker took the message in.

        A message may wait longer than its token lives. Where the broker's time is not in the record, the
        token must be valid now. Raises ``Unauthenticated``, ``TokenRefused``, ``Forbidden``.
        """
        token = bearer_token(authorization(message))
        principal = self._verifier.verify(token, at=message.taken_in_at)
        if principal.role != "records_system":
            raise Forbidden
        return sender_of(principal)

    async def take(self, message: Message, sender: Sender) -> Receipt:
        """Do what it asks for. Raises as reading it does, and as ``Receiving`` does."""
        posted = read_message(message, self.max_body_bytes)
        with span(f"process {message.source}"):
            return await self._do(posted, sender)

    async def _do(self, posted: Posted, sender: Sender) -> Receipt:
        if posted.kind == SUBMITTED:
            return await self._receiving.submit(posted.data, sender)
        change = {
            AMENDED: self._receiving.amend,
            INFORMED: self._receiving.inform,
            WITHDRAWN: self._receiving.withdraw,
        }[posted.kind]
        return await change(posted.about, posted.data, sender)
