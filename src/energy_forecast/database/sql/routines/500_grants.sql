/* All privileges of each role: everything is revoked first, so this file is authoritative. No list contains created_at,
   which the database sets. There are no privileges on partitions, where row-level security of the parent does not apply,
   and none for TRUNCATE, REFERENCES or TRIGGER, which it does not restrict. */
REVOKE ALL ON ALL TABLES IN SCHEMA public, ops FROM PUBLIC, energy_forecast_app, energy_forecast_ingest,
    energy_forecast_forecaster, energy_forecast_operator, energy_forecast_auditor, energy_forecast_api;
REVOKE ALL ON ALL ROUTINES IN SCHEMA public, ops FROM PUBLIC, energy_forecast_app, energy_forecast_ingest,
    energy_forecast_forecaster, energy_forecast_operator, energy_forecast_auditor, energy_forecast_api;
GRANT USAGE ON SCHEMA ops TO energy_forecast_app, energy_forecast_ingest, energy_forecast_forecaster,
    energy_forecast_operator, energy_forecast_auditor;
-- CHECK constraints and indexes call these functions as the writing role
GRANT EXECUTE ON FUNCTION is_ascending(double precision[]), quantiles_ascend(real[], integer), are_assumptions(jsonb),
    geo_point(numeric, numeric) TO PUBLIC;

-- Users read the rows that the policies allow and write nothing. Notes and parameters may name cities of others, so they
-- read only some columns of tables without a city
GRANT SELECT ON cities, energy_consumption, energy_consumption_revisions, weather_data, weather_data_revisions,
    weather_forecasts, predictions, prediction_vintages, vintage_values, forecast_scores, forecast_scores_by_hour, model_metrics,
    user_city_access, ops.rejected_rows, ops.quality_flags TO energy_forecast_app;
GRANT SELECT (id, name, type, version, is_active, trained_at, trained_until, created_at, updated_at)
    ON models TO energy_forecast_app;
GRANT SELECT (model_id, city_id, created_at) ON model_artifacts TO energy_forecast_app;
GRANT SELECT (id, model_id, purpose, issued_at, horizon, weather, interval_minutes, quantile_levels, quantile_count, status, assumptions, started_at,
    finished_at, created_at) ON forecast_runs TO energy_forecast_app;
-- Without the reason, which is free text and may mention other cities. The evidence only has tests of models of the city itself
GRANT SELECT (id, city_id, model_id, during, evidence, is_forced, created_at) ON model_promotions TO energy_forecast_app;
GRANT EXECUTE ON FUNCTION
    consumption_as_of(uuid, timestamptz, timestamptz, timestamptz),
    weather_as_of(uuid, timestamptz, timestamptz, timestamptz),
    weather_forecast_as_of(uuid, timestamptz, timestamptz, timestamptz),
    forecast_as_of(uuid, timestamptz, timestamptz, timestamptz, text), forecast_evolution(uuid, timestamptz),
    served_forecast(uuid, timestamptz, text, text), run_notes(uuid, uuid), load_phase_as_of(uuid, timestamptz),
    may_read_evaluation(uuid) TO energy_forecast_app;
-- A materialized view has no policies, so users read the views on it, which check each city for the reading role
GRANT SELECT ON city_hourly_consumption, hour_of_day_profile TO energy_forecast_app;
GRANT EXECUTE ON FUNCTION may_read_city(uuid), readable_cities(), consumption_at_utc_hour(integer), iso_utc(timestamptz)
    TO energy_forecast_app;

-- Their requests for runs, which the platform starts
GRANT SELECT ON ops.run_requests, ops.http_loads TO energy_forecast_app;
GRANT EXECUTE ON FUNCTION ops.rejected_rows_of(uuid), ops.readable_batches(uuid, timestamptz, uuid, integer),
    ops.changes_since(bytea, timestamptz, bigint)
    TO energy_forecast_app, energy_forecast_operator;
-- The pairs of a score
GRANT EXECUTE ON FUNCTION scorable_from(text, timestamptz, timestamptz, timestamptz),
    consumption_recorded(uuid, timestamptz, timestamptz, timestamptz, timestamptz) TO energy_forecast_app, energy_forecast_operator;
GRANT SELECT ON vintage_values, ops.quality_flags TO energy_forecast_operator;
-- The explanation of a forecast
GRANT EXECUTE ON FUNCTION readable_artifact(uuid, uuid) TO energy_forecast_app, energy_forecast_operator, energy_forecast_forecaster;
GRANT EXECUTE ON FUNCTION
    weather_recorded(uuid, timestamptz, timestamptz, timestamptz, timestamptz),
    weather_forecast_recorded(uuid, timestamptz, timestamptz, timestamptz, timestamptz),
    weather_vintages_as_of(uuid, timestamptz, timestamptz) TO energy_forecast_app, energy_forecast_operator;
GRANT SELECT (model_id, city_id) ON model_artifacts TO energy_forecast_operator;
GRANT EXECUTE ON FUNCTION ops.request_run(text, uuid[], jsonb, text) TO energy_forecast_app;
GRANT SELECT, UPDATE (status, result, started_at, finished_at) ON ops.run_requests TO energy_forecast_forecaster;
GRANT SELECT ON user_city_access TO energy_forecast_forecaster;

-- The readings, with the policies of the reading role. Without a superuser the operator is not a member of pg_read_all_data
GRANT EXECUTE ON FUNCTION
    weather_as_of(uuid, timestamptz, timestamptz, timestamptz),
    weather_forecast_as_of(uuid, timestamptz, timestamptz, timestamptz),
    load_phase_as_of(uuid, timestamptz), forecast_evolution(uuid, timestamptz),
    served_forecast(uuid, timestamptz, text, text), run_notes(uuid, uuid) TO energy_forecast_operator;
GRANT SELECT ON energy_consumption_revisions, weather_data_revisions, weather_forecasts, prediction_vintages, forecast_runs, model_promotions,
    ops.run_requests, ops.http_loads, ops.rejected_rows TO energy_forecast_operator;

-- The API: it finds the user of a key, and then takes their role
GRANT USAGE ON SCHEMA ops TO energy_forecast_api;
GRANT EXECUTE ON FUNCTION ops.use_api_key(bytea), ops.use_session(bytea), ops.open_session_with_key(bytea, bytea), ops.redeem_link(bytea, bytea),
    ops.close_session(bytea)
    TO energy_forecast_api;
GRANT EXECUTE ON FUNCTION ops.open_session(bytea) TO energy_forecast_app;
GRANT SELECT, INSERT (sha256, user_name, is_link, expires_at), DELETE ON ops.sessions TO energy_forecast_operator;
GRANT SELECT ON ops.session_uses TO energy_forecast_operator;
GRANT SELECT, INSERT (prefix, sha256, user_name, scopes, label, expires_at), UPDATE (expires_at, revoked_at)
    ON ops.api_keys TO energy_forecast_operator;
GRANT SELECT ON ops.api_key_uses TO energy_forecast_operator;
GRANT SELECT, INSERT (user_name, url, secret, allow_private), DELETE ON ops.webhooks TO energy_forecast_operator;
GRANT SELECT, INSERT (webhook_id, position),
    UPDATE (position, delivered_city, delivered_at, failures, failing_since, next_attempt_at, disabled_at, reason)
    ON ops.webhook_states TO energy_forecast_operator;
GRANT EXECUTE ON FUNCTION ops.live_runs_after(bigint) TO energy_forecast_operator;
-- Without the secret
GRANT SELECT (id, user_name, url, allow_private, created_at, created_by) ON ops.webhooks TO energy_forecast_auditor;
GRANT SELECT ON ops.api_keys, ops.sessions, ops.http_loads, ops.run_requests TO energy_forecast_auditor;

-- Loads facts
GRANT SELECT ON cities, energy_consumption, energy_consumption_revisions, weather_data, weather_data_revisions,
    weather_forecasts, ops.ingest_batches, ops.rejected_rows, ops.quality_flags, ops.retention_policies, ops.dropped_data TO energy_forecast_ingest;
-- To count the rows of a city whose position a file would change
GRANT SELECT (city_id) ON model_artifacts, forecast_scores TO energy_forecast_ingest;
GRANT INSERT (id, name, latitude, longitude, timezone, country_code, subdivision, metadata),
    UPDATE (latitude, longitude, timezone, country_code, subdivision, metadata, load_delay) ON cities TO energy_forecast_ingest;
GRANT INSERT (id, city_id, timestamp, consumption_kwh, peak_demand_kw, metadata, available_at, interval_minutes),
    UPDATE (consumption_kwh, peak_demand_kw, metadata, available_at, interval_minutes)
    ON energy_consumption TO energy_forecast_ingest;
GRANT INSERT (city_id, timestamp, consumption_kwh, peak_demand_kw, metadata, available_at, interval_minutes)
    ON energy_consumption_revisions TO energy_forecast_ingest;
GRANT INSERT (id, city_id, timestamp, temperature, humidity, wind_speed, precipitation, available_at,
    interval_minutes),
    UPDATE (temperature, humidity, wind_speed, precipitation, available_at, interval_minutes)
    ON weather_data TO energy_forecast_ingest;
GRANT INSERT (city_id, timestamp, temperature, humidity, wind_speed, precipitation, available_at, interval_minutes)
    ON weather_data_revisions TO energy_forecast_ingest;
GRANT INSERT (city_id, timestamp, issued_at, temperature, humidity, wind_speed, precipitation)
    ON weather_forecasts TO energy_forecast_ingest;
GRANT INSERT (id, kind, files, read, inserted, corrected, unchanged, rejected, notes, cells_left_empty, reasons)
    ON ops.ingest_batches TO energy_forecast_ingest;
GRANT INSERT (batch_id, user_name, key_prefix, request_id, idempotency_key, request_sha256, report) ON ops.http_loads
    TO energy_forecast_ingest;
GRANT INSERT (batch_id, file, line, column_name, reason, row_data, city_id, cell_only) ON ops.rejected_rows
    TO energy_forecast_ingest;
GRANT EXECUTE ON FUNCTION ensure_month_partitions(text, timestamptz, timestamptz), iso_utc(timestamptz),
    ops.months_loaded_before(text), ops.begin_month(text, timestamptz), ops.attach_months(text, timestamptz[])
    TO energy_forecast_ingest;
GRANT SELECT, INSERT (city_id, kind, first_timestamp, last_timestamp), UPDATE (first_timestamp, last_timestamp), DELETE
    ON ops.provisional_intervals TO energy_forecast_ingest;
-- It queues the checks of the loaded data, checks them and records quality flags
GRANT SELECT, INSERT (city_id, series, batch_id, first_timestamp, last_timestamp), DELETE
    ON ops.pending_checks TO energy_forecast_ingest;
GRANT INSERT (city_id, series, kind, first_timestamp, last_timestamp, hours, factor, left_out, batch_id), DELETE
    ON ops.quality_flags TO energy_forecast_ingest;
GRANT EXECUTE ON FUNCTION
    load_phase_as_of(uuid, timestamptz),
    consumption_as_of(uuid, timestamptz, timestamptz, timestamptz),
    weather_as_of(uuid, timestamptz, timestamptz, timestamptz) TO energy_forecast_ingest;

-- Trains, forecasts, scores: point-in-time history only
GRANT SELECT ON cities, models, model_artifacts, forecast_runs, prediction_vintages, vintage_values, predictions, model_metrics,
    forecast_scores, forecast_scores_by_hour, ops.dropped_data TO energy_forecast_forecaster;
GRANT EXECUTE ON FUNCTION
    consumption_as_of(uuid, timestamptz, timestamptz, timestamptz),
    weather_as_of(uuid, timestamptz, timestamptz, timestamptz),
    weather_forecast_as_of(uuid, timestamptz, timestamptz, timestamptz),
    consumption_recorded(uuid, timestamptz, timestamptz, timestamptz, timestamptz),
    weather_recorded(uuid, timestamptz, timestamptz, timestamptz, timestamptz),
    weather_forecast_recorded(uuid, timestamptz, timestamptz, timestamptz, timestamptz),
    weather_vintages_as_of(uuid, timestamptz, timestamptz),
    forecast_as_of(uuid, timestamptz, timestamptz, timestamptz, text), forecast_evolution(uuid, timestamptz),
    served_forecast(uuid, timestamptz, text, text), run_notes(uuid, uuid), load_phase_as_of(uuid, timestamptz),
    ensure_month_partitions(text, timestamptz, timestamptz),
    scorable_from(text, timestamptz, timestamptz, timestamptz),
    iso_utc(timestamptz) TO energy_forecast_forecaster;
GRANT INSERT (id, name, type, parameters, version, is_active, trained_at, trained_until), UPDATE (is_active)
    ON models TO energy_forecast_forecaster;
GRANT SELECT, INSERT (city_id, model_id, reason, evidence, is_forced, returns_to) ON model_promotions TO energy_forecast_forecaster;
GRANT INSERT (model_id, city_id, artifact, sha256, training_digest, training_facts)
    ON model_artifacts TO energy_forecast_forecaster;
GRANT INSERT (id, model_id, purpose, issued_at, horizon, weather, interval_minutes, quantile_levels, status, notes, fallback_levels, assumptions,
    started_at, finished_at) ON forecast_runs TO energy_forecast_forecaster;
GRANT INSERT (run_id, city_id, model_id, issued_at, first_timestamp, last_timestamp, interval_minutes, quantile_count,
    predicted_consumption, quantiles) ON prediction_vintages TO energy_forecast_forecaster;
GRANT INSERT (id, model_id, timestamp, mape, rmse, mae, r2_score, detailed_metrics)
    ON model_metrics TO energy_forecast_forecaster;
GRANT INSERT (id, model_id, city_id, purpose, weather, period_start, period_end, lead_start_hours, lead_end_hours,
    pair_count, pair_digest, mape, mae_kwh, rmse_kwh, r2_score, pinball_kwh, coverage_90, width_90_kwh,
    skill_naive_168, by_hour, actuals_as_of, issued_from, issued_until, issued_every, issued_at_local, horizon, assumptions)
    ON forecast_scores TO energy_forecast_forecaster;
GRANT SELECT, INSERT (city_id, first_hour, last_hour, has_new_forecasts, known_at), DELETE ON ops.hours_to_score
    TO energy_forecast_forecaster;
GRANT SELECT, INSERT, UPDATE, DELETE ON ops.scored_days TO energy_forecast_forecaster;
GRANT EXECUTE ON FUNCTION ops.assign_hours_to_score() TO energy_forecast_forecaster;

-- Operates the platform; as a member of pg_read_all_data it reads everything, including partitions
GRANT EXECUTE ON FUNCTION ensure_month_partitions(text, timestamptz, timestamptz), ensure_partitions_ahead(integer)
    TO energy_forecast_operator;
GRANT EXECUTE ON PROCEDURE refresh_materialized_views(), cleanup_old_data() TO energy_forecast_operator;
GRANT EXECUTE ON FUNCTION ops.partitions(), ops.partition_rows(bigint), ops.missing_partitions(integer),
    ops.dedicate_partition(uuid, text, bigint), ops.share_partition(uuid, bigint), ops.retention_due(boolean),
    ops.apply_retention(text, text, timestamptz, timestamptz, uuid), ops.finish_maintenance(uuid, text, jsonb),
    ops.refresh_rollup(), ops.refresh_hours(), ops.hourly_differences(), ops.statement_costs(),
    may_read_city(uuid), readable_cities(), consumption_at_utc_hour(integer) TO energy_forecast_operator;
GRANT SELECT ON hourly_consumption, city_hourly_consumption, hour_of_day_profile, ops.view_refreshes,
    ops.retention_policies, ops.maintenance_runs, ops.dropped_data, ops.pending_checks TO energy_forecast_operator;
GRANT UPDATE (keep, thin_after, kept_lead_hours, keep_scored) ON ops.retention_policies TO energy_forecast_operator;
GRANT SELECT ON ops.retraining_policies TO energy_forecast_forecaster, energy_forecast_operator, energy_forecast_auditor;
GRANT UPDATE (threshold, window_days) ON ops.retraining_policies TO energy_forecast_operator;
GRANT INSERT (id, step) ON ops.maintenance_runs TO energy_forecast_operator;
-- The tables of the reports; without a superuser it is not a member of pg_read_all_data
GRANT SELECT ON energy_consumption, weather_data, models, model_metrics, forecast_scores, forecast_scores_by_hour
    TO energy_forecast_operator;
GRANT SELECT ON cities, user_city_access TO energy_forecast_operator;
GRANT INSERT (user_id, city_id), DELETE ON user_city_access TO energy_forecast_operator;

-- Reads the ledgers
GRANT SELECT ON user_city_access, ops.ingest_batches, ops.rejected_rows, ops.quality_flags, ops.view_refreshes, ops.retention_policies,
    ops.maintenance_runs, ops.dropped_data, ops.attached_months, ops.repairs, ops.fact_baselines, ops.schema_migrations, audit_log, ops.audit_chain
    TO energy_forecast_auditor;
-- The facts and controlled rows, to compare them with the log
GRANT SELECT ON energy_consumption, energy_consumption_revisions, weather_data, weather_data_revisions, weather_forecasts,
    prediction_vintages, vintage_values, cities, models, model_promotions TO energy_forecast_auditor;
GRANT SELECT (model_id, city_id, sha256, training_digest, training_facts, created_at) ON model_artifacts
    TO energy_forecast_auditor;
GRANT SELECT (id, model_id, purpose, issued_at, horizon, weather, interval_minutes, quantile_levels, status, started_at, finished_at, created_at)
    ON forecast_runs TO energy_forecast_auditor;

-- The reports, with the privileges and policies of the reading role
GRANT SELECT ON hourly_consumption_rollup, ops.changed_consumption
    TO energy_forecast_app, energy_forecast_operator;
GRANT EXECUTE ON FUNCTION
    city_hour_phase(uuid, timestamptz),
    consumption_by_hour(uuid, timestamptz, timestamptz, integer),
    consumption_from_values(uuid, timestamptz, timestamptz, integer),
    consumption_with_temperature(uuid, timestamptz, timestamptz),
    local_time(timestamptz, text),
    local_day_minutes(date, text, integer, timestamptz),
    recent_consumption(uuid, integer, timestamptz),
    daily_consumption(uuid, date, date),
    weather_correlation(uuid, integer, numeric, timestamptz),
    model_performance(integer, timestamptz) TO energy_forecast_app, energy_forecast_operator;

-- Backup and recovery
GRANT SELECT ON ops.backups, ops.restore_points, ops.recovery_checks, ops.restored_copies
    TO energy_forecast_operator, energy_forecast_auditor;
GRANT INSERT (kind, name, folder, status, reason, bytes, sha256, server_version, tables, details, started_at)
    ON ops.backups TO energy_forecast_operator;
GRANT INSERT (name, label, lsn, timeline, tables) ON ops.restore_points TO energy_forecast_operator;
GRANT INSERT (kind, subject, passed, reason, details, started_at) ON ops.recovery_checks TO energy_forecast_operator;
GRANT INSERT (source, target), UPDATE (activated_at, activated_by) ON ops.restored_copies TO energy_forecast_operator;
GRANT EXECUTE ON FUNCTION is_restored_copy() TO energy_forecast_app, energy_forecast_ingest,
    energy_forecast_forecaster, energy_forecast_operator, energy_forecast_auditor, energy_forecast_api;
-- A drill compares the results of the original and the copy
GRANT EXECUTE ON FUNCTION consumption_as_of(uuid, timestamptz, timestamptz, timestamptz) TO energy_forecast_operator;
