"""Create the event log, the access log, the consumer tables, and one effect a row."""

from hub_kernel.migrating import create_logs, execute_script

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create them. The effects have no key, so that a doubled effect is two rows."""
    create_logs("reader")
    execute_script("CREATE TABLE reader.effects (stream_id text NOT NULL, version bigint NOT NULL)")
