/* Functions and triggers of earlier versions are renamed, not created again, so that no trigger is missing meanwhile. A new
   database has none of them yet: the routines create them after the migrations. */
DO $$
DECLARE
    renamed record;
BEGIN
    FOR renamed IN
        SELECT * FROM (VALUES
            ('public.touch_updated_at()', 'set_updated_at'),
            ('public.touch_created_at()', 'set_created_at'),
            ('public.stamp_audit_entry()', 'set_audit_author'),
            ('ops.stamp_retention_policy()', 'set_policy_author'),
            ('public.keep_consumption_revision()', 'archive_consumption_revision'),
            ('public.keep_weather_revision()', 'archive_weather_revision'),
            ('public.note_changed_consumption()', 'record_changed_consumption'),
            ('ops.fold_changed_consumption()', 'refresh_rollup'),
            ('public.end_promotion()', 'end_previous_promotion'),
            ('ops.refuse_begun_month()', 'reject_unattached_month'),
            ('public.refuse()', 'reject_change')
        ) AS f (old_name, new_name) WHERE to_regprocedure(f.old_name) IS NOT NULL
    LOOP
        EXECUTE format('ALTER FUNCTION %s RENAME TO %I', renamed.old_name, renamed.new_name);
    END LOOP;
    FOR renamed IN
        SELECT * FROM (VALUES
            ('public.cities', 'cities_touch', 'cities_set_updated_at'),
            ('public.models', 'models_touch', 'models_set_updated_at'),
            ('public.predictions', 'predictions_touch', 'predictions_set_created_at'),
            ('ops.retention_policies', 'retention_policies_stamp', 'retention_policies_set_author'),
            ('ops.retraining_policies', 'retraining_policies_stamp', 'retraining_policies_set_author'),
            ('public.energy_consumption', 'energy_consumption_keep_revision', 'energy_consumption_archive_revision'),
            ('public.weather_data', 'weather_data_keep_revision', 'weather_data_archive_revision'),
            ('public.energy_consumption', 'note_changed_insert', 'record_changed_insert'),
            ('public.energy_consumption', 'note_changed_update', 'record_changed_update'),
            ('public.energy_consumption', 'note_changed_delete', 'record_changed_delete')
        ) AS t (relation, old_name, new_name)
        WHERE EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = t.relation::regclass AND g.tgname = t.old_name)
    LOOP
        EXECUTE format('ALTER TRIGGER %I ON %s RENAME TO %I', renamed.old_name, renamed.relation, renamed.new_name);
    END LOOP;
END $$;
