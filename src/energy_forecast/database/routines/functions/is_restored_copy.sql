-- Whether this database was restored from a backup and not yet activated. Jobs, the API and whatever sends something
-- ask this first: two databases that take themselves for the real one would both act.
CREATE OR REPLACE FUNCTION is_restored_copy() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    AS $$ SELECT EXISTS (SELECT FROM ops.restored_copies WHERE activated_at IS NULL) $$;
