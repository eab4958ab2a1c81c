-- Whether this database was restored from a backup and is not activated. Jobs, the API and everything that sends data
-- check this first: otherwise the original and the copy would both act.
CREATE OR REPLACE FUNCTION is_restored_copy() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    AS $$ SELECT EXISTS (SELECT FROM ops.restored_copies WHERE activated_at IS NULL) $$;
