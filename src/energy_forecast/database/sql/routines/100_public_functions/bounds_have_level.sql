/* The rule for the interval of a current forecast: its bounds are the quantiles of its vintage at the levels
   (1 - confidence_level) / 2 and (1 + confidence_level) / 2. Without SET search_path, so that a query can inline it. */
CREATE OR REPLACE FUNCTION bounds_have_level(
    lower numeric, upper numeric, confidence_level numeric, quantiles double precision[], levels double precision[])
    RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT lower IS NULL
        OR (lower = quantiles[array_position(levels, ((1 - confidence_level) / 2)::double precision)]::numeric(12,2)
            AND upper = quantiles[array_position(levels, ((1 + confidence_level) / 2)::double precision)]::numeric(12,2)) IS TRUE
$$;
COMMENT ON FUNCTION bounds_have_level(numeric, numeric, numeric, double precision[], double precision[]) IS
    'Whether the bounds of a current forecast are the quantiles of its vintage at its confidence level';
