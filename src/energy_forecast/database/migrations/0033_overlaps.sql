ALTER TABLE ops.quality_flags
    DROP CONSTRAINT quality_flag_kind,
    ADD CONSTRAINT quality_flag_kind CHECK (kind IN (
        'gap',     -- no value, or not all intervals of an hour
        'overlap', -- overlapping intervals, which count energy twice
        'zero',    -- not positive, although the expected load is
        'spike',   -- far above the same hour of the days before, or the neighbouring hours
        'dip',     -- far below them
        'stuck',   -- a repeated value
        'unit',    -- about a thousand times the expected value, or a thousandth
        'level'    -- a lasting change of the level; the hours remain in use
    ));
