/* A user may request runs of their cities only, and has at most 20 open requests, so that one user cannot fill the queue of
   the others. A repeated key returns the first request, also while that one is not yet committed: ON CONFLICT waits for it. */
CREATE OR REPLACE FUNCTION ops.request_run(kind text, city_ids uuid[], parameters jsonb, idempotency_key text)
    RETURNS uuid
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    person name := public.acting_role();
    request uuid;
    earlier record;
BEGIN
    IF EXISTS (SELECT FROM unnest(city_ids) AS c (id) WHERE c.id IS NULL OR NOT public.may_read_city(c.id)) THEN
        RAISE insufficient_privilege USING MESSAGE = 'a requested city is not granted to this user';
    END IF;
    -- Requests of one user are counted one after the other
    PERFORM pg_advisory_xact_lock(hashtextextended('run requests of ' || person, 0));
    SELECT r.id, r.kind = kind AND r.city_ids = city_ids AND r.parameters = parameters AS is_same INTO earlier
    FROM ops.run_requests r WHERE r.requested_by = person AND r.idempotency_key = idempotency_key;
    IF FOUND THEN
        IF NOT earlier.is_same THEN
            RAISE unique_violation USING MESSAGE = 'this idempotency key belongs to another request';
        END IF;
        RETURN earlier.id;
    END IF;
    IF (SELECT count(*) FROM ops.run_requests r WHERE r.requested_by = person AND r.finished_at IS NULL) >= 20 THEN
        RAISE configuration_limit_exceeded USING MESSAGE = '20 requested runs of this user are not finished';
    END IF;
    INSERT INTO ops.run_requests (requested_by, kind, city_ids, parameters, idempotency_key)
    VALUES (person, kind, city_ids, parameters, idempotency_key) RETURNING id INTO request;
    RETURN request;
END $$;
COMMENT ON FUNCTION ops.request_run(text, uuid[], jsonb, text) IS
    'Adds a request of the acting role for a run of cities that it may see, and returns its id';
