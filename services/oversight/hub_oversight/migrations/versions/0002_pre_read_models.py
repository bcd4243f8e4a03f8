"""Create the read models, and beside each the one a rebuild fills."""

from hub_kernel.migrating import execute_script

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create them. ``view`` is JSON in bytes, so that a rebuild can be compared with it byte by byte.

    A rebuild takes the live place by name, at once however large it is; only the tables' owner may rename,
    so the service's role is given that one act.
    """
    execute_script(
        """
        CREATE TABLE oversight.referral_views (
            referral_id             uuid  NOT NULL PRIMARY KEY,
            authority               text,
            risk_grade              text,
            level_of_need           text,
            stage                   text  NOT NULL,
            received_at             timestamptz,
            waiting_since           timestamptz,
            grade_seconds           float8,
            share_seconds           float8,
            acknowledgement_seconds float8,
            view                    bytea NOT NULL
        ) WITH (fillfactor = 80);
        CREATE INDEX referral_views_received ON oversight.referral_views (received_at, referral_id);
        CREATE INDEX referral_views_waiting ON oversight.referral_views (waiting_since)
            WHERE waiting_since IS NOT NULL;

        CREATE TABLE oversight.breaches (
            referral_id   uuid        NOT NULL,
            clock         text        NOT NULL,
            epoch         int         NOT NULL,
            authority     text,
            due_at        timestamptz NOT NULL,
            breached_at   timestamptz NOT NULL,
            risk_grade    text        NOT NULL,
            level_of_need text        NOT NULL,
            late_start    boolean     NOT NULL,
            is_open       boolean     NOT NULL,
            PRIMARY KEY (referral_id, clock, epoch)
        );
        CREATE INDEX breaches_open ON oversight.breaches (due_at) WHERE is_open;

        CREATE TABLE oversight.deliveries (
            delivery_id  uuid    NOT NULL PRIMARY KEY,
            authority    text    NOT NULL,
            state        text    NOT NULL,
            to_telephone boolean NOT NULL
        ) WITH (fillfactor = 80);

        CREATE TABLE oversight.timeline (
            referral_id uuid        NOT NULL,
            source      text        NOT NULL,
            position    bigint      NOT NULL,
            occurred_at timestamptz NOT NULL,
            recorded_at timestamptz NOT NULL,
            type        text        NOT NULL,
            sentence    text        NOT NULL,
            PRIMARY KEY (referral_id, source, position)
        );

        CREATE TABLE oversight.rebuilt_referral_views (LIKE oversight.referral_views INCLUDING ALL);
        CREATE TABLE oversight.rebuilt_breaches (LIKE oversight.breaches INCLUDING ALL);
        CREATE TABLE oversight.rebuilt_deliveries (LIKE oversight.deliveries INCLUDING ALL);
        CREATE TABLE oversight.rebuilt_timeline (LIKE oversight.timeline INCLUDING ALL);

        CREATE FUNCTION oversight.swap_rebuilt() RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
        AS $$
        DECLARE
            model text;
        BEGIN
            FOREACH model IN ARRAY ARRAY['referral_views', 'breaches', 'deliveries', 'timeline'] LOOP
                EXECUTE format('ALTER TABLE oversight.%I RENAME TO %I', model, 'replaced_' || model);
                EXECUTE format('ALTER TABLE oversight.%I RENAME TO %I', 'rebuilt_' || model, model);
                EXECUTE format('ALTER TABLE oversight.%I RENAME TO %I', 'replaced_' || model,
                               'rebuilt_' || model);
            END LOOP;
        END
        $$;
        REVOKE ALL ON FUNCTION oversight.swap_rebuilt() FROM PUBLIC;
        GRANT EXECUTE ON FUNCTION oversight.swap_rebuilt() TO hub_oversight;
        """
    )
