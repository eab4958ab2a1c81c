/* 72 separate rows for each score would make a table 73 times as long, rewritten as each month fills up. Instead the parts
   are stored in the row of their score, and are recomputed with it. */
ALTER TABLE forecast_scores
    ADD COLUMN by_hour JSONB NOT NULL DEFAULT '[]',
    ADD CONSTRAINT forecast_score_by_hour CHECK (jsonb_typeof(by_hour) = 'array');
COMMENT ON COLUMN forecast_scores.by_hour IS
    'The same scores of the pairs of each weekday type and local hour; forecast_scores_by_hour shows them as rows';
