-- How far this service's log is published on each topic, by whom, and until when nobody else may.
CREATE TABLE {schema}.relay (
    topic      text        PRIMARY KEY,
    epoch      bigint      NOT NULL,
    position   bigint      NOT NULL,
    holder     text        NOT NULL,
    held_until timestamptz NOT NULL
);
