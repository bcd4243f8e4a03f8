"""What a delivery refuses, and what to do about it."""

from hub_kernel.errors import Conflict, NotFound, Rejected


class DeliveryUnknown(NotFound):
    """There is no such delivery, or not one this token may see. Check the id."""

    slug = "delivery-unknown"


class DeliveryEnded(Rejected):
    """Nothing more is sent in this delivery. Decide to share again if it must be."""

    slug = "delivery-ended"


class NotRendered(Rejected):
    """This delivery has no rendered contact yet. Wait until the referral's document has arrived."""

    slug = "not-rendered"


class AttemptOpen(Rejected):
    """An attempt has no answer yet. Ask the partner whether it has the message before sending it again."""

    slug = "attempt-open"


class ContactContradicts(Conflict):
    """This answer contradicts the record. Compare its contact id and decision with the delivery's."""

    slug = "contact-contradicts"
