-- Appends one batch across streams, all of it or none of it.
--
-- The head row is locked before positions are given, so positions are gapless and in commit order. When a
-- stream is not at the version its writer expects (-1: any), or an event id is already in the log, nothing
-- is written and the answer says what stands there; the caller decides what to drop and asks again.
-- Plans are pinned: a generic plan cached while the table was empty reads it sequentially ever after.
CREATE FUNCTION {schema}.append_events(
    p_now timestamptz,
    p_streams text[], p_expected bigint[], p_counts int[],
    p_event_id uuid[], p_type text[], p_schema_version smallint[], p_occurred_at timestamptz[],
    p_correlation_id uuid[], p_causation_id uuid[], p_actor text[], p_traceparent text[],
    p_open bytea[], p_key_id uuid[], p_sealed bytea[], p_content_hash bytea[],
    OUT first_position bigint, OUT recorded_at timestamptz, OUT versions bigint[], OUT known_ids uuid[]
) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    tree bytea[];
    leaves bytea[];
    leaf bytea;
    last_position bigint;
    recorded_micros bytea;
    size bigint;
    top int;
    count int := cardinality(p_event_id);
    stream_of int[];
    version_of bigint[];
    n int := 0;
BEGIN
    SELECT h.position, greatest(h.recorded_at, p_now), h.peaks INTO last_position, recorded_at, tree
      FROM {schema}.log_head h FOR UPDATE;

    SELECT array_agg(coalesce(last.version, 0) ORDER BY s.ord) INTO versions
      FROM unnest(p_streams) WITH ORDINALITY AS s(stream_id, ord)
      LEFT JOIN LATERAL (SELECT e.version FROM {schema}.events e WHERE e.stream_id = s.stream_id
                         ORDER BY e.version DESC LIMIT 1) last ON true;

    SELECT array_agg(e.event_id) INTO known_ids FROM {schema}.events e WHERE e.event_id = ANY (p_event_id);

    FOR i IN 1 .. cardinality(p_streams) LOOP
        IF known_ids IS NOT NULL OR (p_expected[i] >= 0 AND p_expected[i] <> versions[i]) THEN
            first_position := NULL;
            RETURN;
        END IF;
    END LOOP;

    recorded_micros := int8send((extract(epoch FROM recorded_at) * 1000000)::bigint);
    top := cardinality(tree);
    FOR s IN 1 .. cardinality(p_streams) LOOP
        FOR ordinal IN 1 .. p_counts[s] LOOP
            n := n + 1;
            stream_of[n] := s;
            version_of[n] := versions[s] + ordinal;
            leaf := sha256('\x00'::bytea || p_content_hash[n] || int8send(last_position + n)
                           || int8send(versions[s] + ordinal) || recorded_micros);
            leaves[n] := leaf;
            size := last_position + n;
            WHILE size % 2 = 0 LOOP
                leaf := sha256('\x01'::bytea || tree[top] || leaf);
                top := top - 1;
                size := size / 2;
            END LOOP;
            top := top + 1;
            tree[top] := leaf;
        END LOOP;
    END LOOP;

    INSERT INTO {schema}.events
    SELECT last_position + e.ord, p_streams[e.stream_index], e.version, e.event_id,
           split_part(p_streams[e.stream_index], '-', 1), e.type, e.schema_version, e.occurred_at, recorded_at,
           e.correlation_id, e.causation_id, e.actor, e.traceparent, e.open, e.key_id, e.sealed, e.leaf
      FROM unnest(stream_of, version_of, p_event_id, p_type, p_schema_version, p_occurred_at,
                  p_correlation_id, p_causation_id, p_actor, p_traceparent, p_open, p_key_id, p_sealed, leaves)
           WITH ORDINALITY AS e(stream_index, version, event_id, type, schema_version, occurred_at,
                                correlation_id, causation_id, actor, traceparent, open, key_id, sealed, leaf, ord);

    UPDATE {schema}.log_head h SET position = last_position + count,
           recorded_at = append_events.recorded_at, peaks = tree[1:top];
    PERFORM pg_notify('{schema}', (last_position + count)::text);
    first_position := last_position + 1;
END
$$;
