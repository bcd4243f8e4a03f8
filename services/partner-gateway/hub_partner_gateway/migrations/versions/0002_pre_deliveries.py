"""Create the referrals' latest documents, as ciphertext, and the sender's worklist."""

from hub_kernel.migrating import execute_script

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create them. The worklist says when to look at a delivery; what it has come to stands in the log.

    ``awaits_beyond``: there is nothing to write before a document later than this version comes.
    """
    execute_script(
        """
        CREATE TABLE partner_gateway.documents (
            referral_id uuid    NOT NULL PRIMARY KEY,
            version     bigint  NOT NULL,
            withdrawn   boolean NOT NULL DEFAULT false,
            position    bigint,
            event_id    uuid,
            type        text,
            key_id      uuid,
            sealed      bytea
        );
        CREATE TABLE partner_gateway.deliveries (
            delivery_id        uuid    NOT NULL PRIMARY KEY,
            referral_id        uuid    NOT NULL,
            message_id         uuid    NOT NULL UNIQUE,
            authority          text    NOT NULL,
            agency             text    NOT NULL,
            destination        text,
            next_attempt_at    timestamptz,
            asked              int     NOT NULL DEFAULT 0,
            awaits_beyond      bigint,
            claimed_until      timestamptz
        ) WITH (fillfactor = 70);
        CREATE INDEX deliveries_due
            ON partner_gateway.deliveries (destination, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
        CREATE INDEX deliveries_of_referral ON partner_gateway.deliveries (referral_id);
        """
    )
