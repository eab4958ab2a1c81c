/* The first rows of a city may not show the interval length: a file of one row, or a few rows with gaps. They are stored
   with an estimate, which this table records until enough rows confirm the length. */
CREATE TABLE ops.provisional_intervals (
    city_id         UUID NOT NULL REFERENCES cities (id),
    kind            TEXT NOT NULL,
    first_timestamp TIMESTAMP WITH TIME ZONE NOT NULL,
    last_timestamp  TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT provisional_interval_key PRIMARY KEY (city_id, kind),
    CONSTRAINT provisional_interval_kind CHECK (kind IN ('consumption', 'weather')),
    CONSTRAINT provisional_interval_order CHECK (last_timestamp >= first_timestamp)
);
COMMENT ON TABLE ops.provisional_intervals IS
    'Cities whose interval length fewer than 24 equal gaps have shown. A load that shows another length corrects interval_minutes of the values in the span; one that shows enough, or whose user names the length, deletes the row';
COMMENT ON COLUMN ops.provisional_intervals.first_timestamp IS 'START of the first interval, UTC, whose length may be corrected';
COMMENT ON COLUMN ops.provisional_intervals.last_timestamp IS 'START of the last one, UTC';
