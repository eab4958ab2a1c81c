-- The comments of earlier migrations in plain English; the meaning is unchanged
COMMENT ON TABLE cities IS 'The places whose consumption is forecast; all other data refer to a city';
COMMENT ON COLUMN cities.name IS 'Name in commands and files; compared without regard to case and Unicode normalisation';
COMMENT ON COLUMN cities.timezone IS 'IANA time zone; the only source of local time';

COMMENT ON TABLE energy_consumption IS
    'Consumption of a city in one interval, as known now. A correction overwrites the value here and stores the old one in energy_consumption_revisions; no value is lost. One partition per UTC month';
COMMENT ON COLUMN energy_consumption.id IS 'Identifier of the row; not indexed, the key is city and timestamp';
COMMENT ON COLUMN energy_consumption.available_at IS
    'When the value could first be known, according to its source; never before the end of the interval';
COMMENT ON COLUMN energy_consumption.interval_minutes IS
    'Length of the interval, a divisor of 60; it distinguishes complete from incomplete hours';
COMMENT ON TABLE energy_consumption_revisions IS
    'Versions of energy_consumption that are not current: values replaced by a correction, and older values that arrived after newer ones. Append-only';
COMMENT ON COLUMN energy_consumption_revisions.superseded_at IS
    'When this database stopped showing the value as current, or recorded it as an older version';

COMMENT ON TABLE weather_data IS
    'OBSERVED weather of a city in one interval, as known now; corrections as in energy_consumption. Forecasts are in weather_forecasts. One partition per UTC month';
COMMENT ON COLUMN weather_data.available_at IS
    'When the value could first be known, according to its source; never before the end of the interval';
COMMENT ON TABLE weather_data_revisions IS
    'Versions of weather_data that are not current: values replaced by a correction, and older values that arrived after newer ones. Append-only';
COMMENT ON TABLE weather_forecasts IS
    'Forecasts of a weather service with their issue times. Append-only: a later issue does not replace an earlier one. One partition per UTC month of the target';
COMMENT ON COLUMN weather_forecasts.timestamp IS 'START of the target hour, UTC';
COMMENT ON COLUMN weather_forecasts.issued_at IS 'When the weather service issued it, and so when it could be known';

COMMENT ON TABLE models IS 'One row per version of a model. A trained version never changes; only is_active does';
COMMENT ON COLUMN models.type IS 'baseline, regression, trees or ensemble';
COMMENT ON COLUMN models.parameters IS 'Parameters of the training';
COMMENT ON COLUMN models.is_active IS
    'Whether the version is now the champion of a city, or the newest version of its name for at least one city';
COMMENT ON COLUMN models.trained_until IS
    'Knowledge cutoff: all training data had available_at up to this time. The version may only issue forecasts after it';
COMMENT ON TABLE model_artifacts IS 'The fitted parameters of one model version for one city, without code. Append-only';
COMMENT ON COLUMN model_artifacts.sha256 IS 'SHA-256 of the artifact, checked on writing and on reading';
COMMENT ON COLUMN model_artifacts.training_digest IS 'SHA-256 of the training data and parameters: equal digests mean equal models';
COMMENT ON COLUMN model_artifacts.training_facts IS 'Hours used and excluded, held-out scores, calibration';

COMMENT ON FUNCTION is_ascending(double precision[]) IS 'Whether numbers are finite and in ascending order';
COMMENT ON TABLE forecast_runs IS
    'One execution of one model version. All data that it used had available_at (weather forecasts: issued_at) up to issued_at. Append-only';
COMMENT ON COLUMN forecast_runs.purpose IS
    'live: issued at issued_at. replay: one forecast issued later with only the data known then. backtest: many such forecasts. created_at is always the real time of execution';
COMMENT ON COLUMN forecast_runs.horizon IS 'The longest lead time requested';
COMMENT ON COLUMN forecast_runs.weather IS
    'The weather used for the target hours: a weather forecast, none, or (backtests only) the observed weather';
COMMENT ON COLUMN forecast_runs.status IS 'partial: some cities could not be forecast; notes has the reasons';
COMMENT ON COLUMN forecast_runs.notes IS 'By city: missing data, and their replacement';
COMMENT ON COLUMN forecast_runs.fallback_levels IS
    'By city: the fallback level of its forecast (0 is the preferred model), the age of the last known load in hours, and the reason for the level. Empty for backtests';
COMMENT ON TABLE prediction_vintages IS 'Every issued forecast with its quantiles. Append-only. One partition per UTC month of issued_at';
COMMENT ON COLUMN prediction_vintages.timestamp IS 'START of the target hour, UTC; never before issued_at';
COMMENT ON TABLE predictions IS
    'The CURRENT forecast: one row per city, model version and hour, from the latest issue. prediction_vintages has every issue';
COMMENT ON COLUMN predictions.timestamp IS 'START of the target hour, UTC';

COMMENT ON TABLE model_metrics IS
    'One row per model version and evaluation, over all its cities; forecast_scores has the details. Append-only';
COMMENT ON COLUMN model_metrics.mape IS
    'Mean absolute percentage error, percent; mean over the cities. Hours with an actual of zero are excluded';
COMMENT ON COLUMN model_metrics.detailed_metrics IS 'The scope of the evaluation, and pinball loss, coverage and skill';
COMMENT ON TABLE forecast_scores IS
    'Scores of forecasts against actuals: one row per model version, city, period and lead-time bucket. A later correction of the actuals adds a new row. Append-only';
COMMENT ON COLUMN forecast_scores.purpose IS 'Purpose of the scored runs; live runs and later runs are never mixed';
COMMENT ON COLUMN forecast_scores.pair_digest IS 'SHA-256 of the pairs; the same pairs are not scored twice';
COMMENT ON COLUMN forecast_scores.mape IS 'Percent; hours with an actual of zero are excluded';
COMMENT ON COLUMN forecast_scores.skill_naive_168 IS
    '1 - MAE / MAE of naive-168, over the pairs with a known load one week before';
COMMENT ON COLUMN forecast_scores.actuals_as_of IS 'The time as of which the actuals were read';
COMMENT ON COLUMN forecast_scores.by_hour IS
    'The same scores by weekday type and local hour; forecast_scores_by_hour shows them as rows';
COMMENT ON COLUMN forecast_scores.issued_from IS 'For a backtest: the first issue time; otherwise null';
COMMENT ON COLUMN forecast_scores.issued_until IS 'For a backtest: the last issue time';
COMMENT ON COLUMN forecast_scores.issued_every IS 'For a backtest: the time between two issues';
COMMENT ON COLUMN forecast_scores.issued_at_local IS
    'For a backtest with --at-local: the local issue time; issued_every then counts local days. Null: issued_every is a duration';
COMMENT ON COLUMN forecast_scores.horizon IS 'For a backtest: the longest lead time of its runs';

COMMENT ON TABLE ops.ingest_batches IS
    'One row per batch, written in the transaction that stored its rows. Append-only';
COMMENT ON COLUMN ops.ingest_batches.created_at IS 'Equals created_at of the rows that the batch stored';
COMMENT ON COLUMN ops.ingest_batches.rejected IS 'Number of rejected rows, including those that ops.rejected_rows does not store';
COMMENT ON COLUMN ops.ingest_batches.cells_left_empty IS
    'Number of optional cells with an implausible value, which were left empty; their rows were used';
COMMENT ON COLUMN ops.ingest_batches.reasons IS
    'Array of column, reason, count and cell_only: the number of rows (or cells) rejected for each reason, with values replaced by three dots. Empty for batches before migration 0042';
COMMENT ON TABLE ops.rejected_rows IS
    'Quarantine: rows that a batch could not use, and cells that it left empty, as read. A batch stores a limited number of them. Rows never change; retention deletes old ones';
COMMENT ON COLUMN ops.rejected_rows.line IS 'Line of a CSV file (the header is line 1) or row of a Parquet file (from 1)';
COMMENT ON COLUMN ops.rejected_rows.column_name IS 'The faulty column; null for the whole row';
COMMENT ON COLUMN ops.rejected_rows.city_id IS 'The city named in the row; null if no city has that name';

COMMENT ON TABLE user_city_access IS
    'The cities that each user may see. Every policy reads it as the acting role, which sees only its own rows';

COMMENT ON TABLE audit_log IS
    'Changes and their authors. One entry per row of controlled tables, one per statement on bulk facts with counts and checksums, one per object for schema changes. Written only by triggers; append-only; ops.audit_chain links the entries';
COMMENT ON COLUMN audit_log.table_name IS 'The table, with its schema unless it is public; for a schema change the object';
COMMENT ON COLUMN audit_log.old_data IS 'The row before; for a bulk UPDATE or DELETE: rows, first, last, cities, sums';
COMMENT ON COLUMN audit_log.new_data IS
    'The row after, without the bytes of an artifact; for a bulk INSERT or UPDATE: rows, first, last, cities, sums';
COMMENT ON COLUMN audit_log.user_name IS 'The role taken by SET ROLE, otherwise the login';
COMMENT ON COLUMN audit_log.timestamp IS 'Start of the transaction; equals created_at of the rows that it wrote';
COMMENT ON COLUMN audit_log.transaction_id IS 'The transaction; its entries belong together';
COMMENT ON COLUMN audit_log.city_ids IS 'The cities that the change concerns; empty if it concerns no particular city';
COMMENT ON COLUMN audit_log.number IS
    'Order of writing inside a transaction. It has gaps, because rolled-back transactions used numbers';
COMMENT ON TABLE ops.audit_chain IS
    'The entries of audit_log in commit order, each linked to the previous one by SHA-256. Append-only. See docs/decisions/audit.md';
COMMENT ON COLUMN ops.audit_chain.sequence IS
    'Position in the chain, without gaps; 0 is the first link, whose random hash identifies the chain';
COMMENT ON COLUMN ops.audit_chain.hash IS 'SHA-256 of the previous hash and the text of the entry';
COMMENT ON TABLE ops.repairs IS
    'Differences from the expected catalog that `db upgrade` repaired: one row per fault, with an entry in audit_log, because changes of roles have no other entry. Append-only';
COMMENT ON TABLE ops.fact_baselines IS
    'When the rows of a table were first summed; the entry of audit_log has the checksums. Since then every change has checksums, which `doctor audit` compares. Append-only';

COMMENT ON FUNCTION ops.consumption_by_hour() IS
    'Consumption of each city by UTC hour over the last 30 days, from the facts: the definition of hourly_consumption';
COMMENT ON MATERIALIZED VIEW hourly_consumption IS
    'Consumption of each city by UTC hour over the last 30 days, as of the last refresh. It has no row-level security: users read city_hourly_consumption';
COMMENT ON COLUMN hourly_consumption.peak_demand IS 'Highest power in the hour, kW; null if no value has it';
COMMENT ON COLUMN hourly_consumption.covered_minutes IS 'Minutes of the hour with a value: 60 is a complete hour';
COMMENT ON TABLE hourly_consumption_rollup IS
    'Consumption of each city by UTC hour over the last 31 days, current except for the hours in ops.changed_consumption. Users read both combined, as city_hourly_consumption';
COMMENT ON COLUMN hourly_consumption_rollup.peak_demand IS 'Highest power in the hour, kW; null if no value has it';
COMMENT ON COLUMN hourly_consumption_rollup.covered_minutes IS 'Minutes of the hour with a value: 60 is a complete hour';
COMMENT ON COLUMN hourly_consumption_rollup.off_hour_values IS
    'Number of 60-minute values that begin in the hour but not at its start; a city without any has full UTC hours';
COMMENT ON TABLE ops.changed_consumption IS
    'Ranges of hours that hourly_consumption_rollup does not contain yet, one row per city and statement. Written by triggers of energy_consumption, deleted when `maintain refresh` folds them in';
COMMENT ON COLUMN ops.changed_consumption.last_hour IS 'START of the last hour, UTC; infinity: all later hours';

COMMENT ON TABLE ops.view_refreshes IS
    'One row per refresh of a materialized view, written in its transaction; the latest row shows the age of the view. Append-only';
COMMENT ON COLUMN ops.view_refreshes.refreshed_at IS 'Start of the refresh; the view does not contain values recorded later';
COMMENT ON COLUMN ops.view_refreshes.data_until IS 'End of the last hour with a value; null without values';
COMMENT ON TABLE ops.retention_policies IS
    'The retention of each table. `maintain retention` and cleanup_old_data() remove older rows; ops.dropped_data records the removals';
COMMENT ON COLUMN ops.retention_policies.keep IS 'Null: unlimited';
COMMENT ON TABLE ops.maintenance_runs IS
    'One row per maintenance step, inserted at its start and updated once, at its end; no other change is possible';
COMMENT ON COLUMN ops.maintenance_runs.outcome IS
    'Null while it runs. interrupted: the next run found that it had ended without an outcome';
COMMENT ON COLUMN ops.maintenance_runs.details IS 'Results as numbers, and errors';
COMMENT ON TABLE ops.dropped_data IS
    'Removals by retention, one row per month, written in the transaction of the removal. Append-only';
COMMENT ON COLUMN ops.dropped_data.partition_name IS 'The dropped partition; null if rows were deleted';
COMMENT ON COLUMN ops.dropped_data.range_start IS 'Start of the range of timestamps (issued_at for prediction_vintages)';
COMMENT ON COLUMN ops.dropped_data.byte_count IS 'Bytes of the partition with its indexes, or of the deleted rows alone';
COMMENT ON COLUMN ops.dropped_data.digest IS
    'SHA-256 of the SHA-256s of each city (each model for model_metrics) and UTC day, in that order; each is over the rows as text in UTC, sorted bytewise, joined by newlines';
COMMENT ON COLUMN ops.dropped_data.keep IS 'The retention period at that time';

COMMENT ON TABLE ops.backups IS
    'One row per backup attempt, written at its end: verified by a full read, or failed with a reason. The backup files have the same record, which outlives this database. Append-only';
COMMENT ON COLUMN ops.backups.kind IS 'logical: a dump. full, incremental: a base backup for point-in-time recovery';
COMMENT ON COLUMN ops.backups.name IS 'The file or folder; its number shows the order, independent of the clock';
COMMENT ON COLUMN ops.backups.status IS 'verified: read completely after it was written. failed: the backup does not exist';
COMMENT ON COLUMN ops.backups.tables IS 'Row count and digest of each table in the dumped snapshot';
COMMENT ON COLUMN ops.backups.details IS 'For a base backup: start and end of its WAL, its timeline, its parent';
COMMENT ON COLUMN ops.backups.serial IS 'Order of the attempts, independent of the clock';
COMMENT ON TABLE ops.restore_points IS
    'Recovery targets, with the row count and digest of each table at that time. The archive has the same record. Append-only';
COMMENT ON COLUMN ops.restore_points.label IS
    'The name in the WAL: the name and a random suffix, because recovery would stop at the first of two equal names';
COMMENT ON COLUMN ops.restore_points.tables IS 'Row count and digest of each table, read while no writer was active';
COMMENT ON TABLE ops.recovery_checks IS
    'One row per drill, verification of an earlier backup, removal of old backups, or copy of rows from a restored database. Append-only';
COMMENT ON COLUMN ops.recovery_checks.subject IS 'The backup that was checked or removed';
COMMENT ON COLUMN ops.recovery_checks.details IS
    'For a drill: duration of the recovery (RTO) and work that a loss would have cost (RPO), in seconds';
COMMENT ON COLUMN ops.recovery_checks.serial IS 'Order of the checks, independent of the clock';
COMMENT ON TABLE ops.restored_copies IS
    'The sources of a restored database. While a row has no activated_at, the database is a copy that runs no jobs, and serves and sends nothing; see is_restored_copy()';
COMMENT ON COLUMN ops.restored_copies.target IS 'The time or snapshot of the restore';

COMMENT ON TABLE model_promotions IS
    'The champion of each city over time, with author and reason. A row is added; the next promotion sets its end, once';
COMMENT ON COLUMN model_promotions.during IS 'From this promotion to the next; without an end, the version serves the city now';
COMMENT ON COLUMN model_promotions.evidence IS 'The paired tests against the previous champion and the naive models';
COMMENT ON COLUMN model_promotions.is_forced IS 'Promoted although the tests did not support it; reason explains why';
COMMENT ON COLUMN model_promotions.returns_to IS
    'For a rollback: the promotion whose version serves again. The next rollback continues before that promotion';

COMMENT ON TABLE ops.quality_flags IS
    'Faults that the check after a batch found in a series of a city, for users: ranges of hours. A check replaces the flags of the range of its batch. Training and scores do not read them, but check the data known at their time';
COMMENT ON COLUMN ops.quality_flags.hours IS 'Number of hours; 1 for a level change, which has no end';
COMMENT ON COLUMN ops.quality_flags.factor IS 'Ratio to the expected value, for unit and level';
COMMENT ON COLUMN ops.quality_flags.left_out IS 'Whether training and scores exclude the hours; the values are not changed';
COMMENT ON COLUMN ops.quality_flags.batch_id IS 'The batch after which the fault was found';
COMMENT ON TABLE ops.retraining_policies IS
    'Thresholds for retraining a city. `model due` lists the cities and reasons; `train --due` retrains them';
COMMENT ON COLUMN ops.retraining_policies.threshold IS
    'age: days since the end of the training data. drift: recent MAPE divided by the held-out MAPE. coverage: minimum share of hours inside the 90 % interval. Null: never for this reason';
COMMENT ON COLUMN ops.retraining_policies.window_days IS 'Days of issued forecasts over which drift and coverage are measured';

COMMENT ON TABLE ops.attached_months IS
    'The months that a batch filled before attaching them, one row per month. Its triggers write the entries of audit_log that a statement on the table would have written. Append-only';
COMMENT ON TABLE ops.begun_months IS
    'The months that open transactions are filling. Always empty after a commit, because a transaction that does not attach its months fails';
COMMENT ON TABLE ops.provisional_intervals IS
    'Cities whose interval length is based on fewer than 24 equal gaps. A batch with another length corrects interval_minutes of the values in the range; a batch with enough gaps, or whose user states the length, deletes the row';
COMMENT ON COLUMN ops.provisional_intervals.first_timestamp IS 'START of the first interval whose length may be corrected, UTC';
COMMENT ON COLUMN ops.provisional_intervals.last_timestamp IS 'START of the last interval whose length may be corrected, UTC';
