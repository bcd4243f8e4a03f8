-- The data keys: wrapped by the master key, or NULL once erased; the row then stays as a fence.
CREATE TABLE keyring.data_keys (
    key_id     uuid PRIMARY KEY,
    wrapped    bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    erased_at  timestamptz,
    CHECK ((wrapped IS NULL) = (erased_at IS NOT NULL))
);
-- Makes the keys that do not exist yet and returns all of them, erased ones with wrapped NULL.
CREATE FUNCTION keyring.mint(p_key_ids uuid[], p_wrapped bytea[])
RETURNS TABLE (key_id uuid, wrapped bytea) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO keyring.data_keys (key_id, wrapped)
    SELECT * FROM unnest(p_key_ids, p_wrapped) AS fresh(key_id, wrapped) ORDER BY 1
    ON CONFLICT (key_id) DO NOTHING;
    RETURN QUERY SELECT k.key_id, k.wrapped FROM keyring.data_keys k WHERE k.key_id = ANY (p_key_ids);
END
$$;
