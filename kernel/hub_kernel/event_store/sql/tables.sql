-- One event log: its events, and the one row every append locks before it is given positions.
CREATE TABLE {schema}.events (
    position       bigint      NOT NULL PRIMARY KEY,
    stream_id      text        NOT NULL COLLATE "C",
    version        bigint      NOT NULL,
    event_id       uuid        NOT NULL UNIQUE,
    category       text        NOT NULL COLLATE "C",
    type           text        NOT NULL COLLATE "C",
    schema_version smallint    NOT NULL,
    occurred_at    timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL,
    correlation_id uuid        NOT NULL,
    causation_id   uuid,
    actor          text        NOT NULL COLLATE "C",
    traceparent    text        COLLATE "C",
    open           bytea       NOT NULL,
    key_id         uuid,
    sealed         bytea,
    leaf_hash      bytea       NOT NULL,
    UNIQUE (stream_id, version)
);
CREATE INDEX events_category ON {schema}.events (category, position);
CREATE INDEX events_correlation ON {schema}.events (correlation_id, position);

CREATE TABLE {schema}.log_head (
    singleton   boolean     NOT NULL PRIMARY KEY DEFAULT true CHECK (singleton),
    position    bigint      NOT NULL,
    recorded_at timestamptz NOT NULL,
    peaks       bytea[]     NOT NULL
) WITH (fillfactor = 50);
INSERT INTO {schema}.log_head VALUES (true, 0, '-infinity', '{{}}');
