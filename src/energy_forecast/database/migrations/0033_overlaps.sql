ALTER TABLE ops.quality_flags
    DROP CONSTRAINT quality_flag_kind,
    ADD CONSTRAINT quality_flag_kind CHECK (kind IN (
        'gap',     -- no value, or of an hour's intervals not all
        'overlap', -- intervals that overlap, so that something is counted twice
        'zero',    -- not positive where the load usually is
        'spike',   -- far above the same hour of the days before, or the hours beside it
        'dip',     -- far below them
        'stuck',   -- one value again and again
        'unit',    -- about a thousand times the usual, or a thousandth
        'level'    -- a new level from here on; the hours are kept in use
    ));
