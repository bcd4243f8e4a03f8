-- What a consumer keeps beside its effects: how far it has read, the last version of each stream, what is parked.
CREATE TABLE {schema}.consumer_cursors (
    consumer  text   NOT NULL,
    source    text   NOT NULL,
    partition int    NOT NULL,
    position  bigint NOT NULL,
    PRIMARY KEY (consumer, source, partition)
);
CREATE TABLE {schema}.inbox (
    consumer     text   NOT NULL,
    source       text   NOT NULL,
    stream_id    text   NOT NULL COLLATE "C",
    last_version bigint NOT NULL,
    PRIMARY KEY (consumer, source, stream_id)
) WITH (fillfactor = 80);
CREATE TABLE {schema}.parked (
    consumer    text        NOT NULL,
    source      text        NOT NULL,
    stream_id   text        NOT NULL COLLATE "C",
    version     bigint      NOT NULL,
    partition   int         NOT NULL,
    position    bigint      NOT NULL,
    header_names  text[]    NOT NULL,
    header_values bytea[]   NOT NULL,
    value       bytea       NOT NULL,
    reason      text        NOT NULL,
    attempts    int         NOT NULL,
    parked_at   timestamptz NOT NULL,
    next_try_at timestamptz,
    PRIMARY KEY (consumer, source, stream_id, version)
);
CREATE INDEX parked_due ON {schema}.parked (consumer, next_try_at) WHERE next_try_at IS NOT NULL;
