"""Create what was graded last of each referral, the worklist and the clocks."""

from hub_kernel.migrating import execute_script

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create them. ``next_fire_at`` is indexed only while a clock still needs the timer."""
    execute_script(
        """
        CREATE TABLE triage.summaries (
            referral_id uuid  NOT NULL PRIMARY KEY,
            summary     jsonb NOT NULL
        );
        CREATE TABLE triage.assessments (
            referral_id   uuid        NOT NULL PRIMARY KEY,
            state         text        NOT NULL,
            authority     text        NOT NULL,
            level_of_need text        NOT NULL,
            band          smallint    NOT NULL,
            due_at        timestamptz NOT NULL,
            content       jsonb       NOT NULL
        ) WITH (fillfactor = 80);
        CREATE INDEX worklist ON triage.assessments (band, due_at, referral_id) WHERE state = 'open';
        CREATE INDEX worklist_of_authority
            ON triage.assessments (authority, band, due_at, referral_id) WHERE state = 'open';
        CREATE TABLE triage.clocks (
            referral_id  uuid NOT NULL,
            clock        text NOT NULL,
            epoch        int  NOT NULL,
            next_fire_at timestamptz,
            PRIMARY KEY (referral_id, clock)
        ) WITH (fillfactor = 80);
        CREATE INDEX clocks_next_fire ON triage.clocks (next_fire_at) WHERE next_fire_at IS NOT NULL;
        """
    )
