CREATE OR REPLACE TRIGGER energy_consumption_correct BEFORE UPDATE ON energy_consumption
    FOR EACH ROW EXECUTE FUNCTION correct_value();
ALTER TABLE energy_consumption ENABLE ALWAYS TRIGGER energy_consumption_correct;
CREATE OR REPLACE TRIGGER energy_consumption_archive_revision AFTER UPDATE ON energy_consumption REFERENCING OLD TABLE AS corrected
    FOR EACH STATEMENT EXECUTE FUNCTION archive_consumption_revision();
ALTER TABLE energy_consumption ENABLE ALWAYS TRIGGER energy_consumption_archive_revision;

CREATE OR REPLACE TRIGGER record_changed_insert AFTER INSERT ON energy_consumption REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION record_changed_consumption();
ALTER TABLE energy_consumption ENABLE ALWAYS TRIGGER record_changed_insert;
CREATE OR REPLACE TRIGGER record_changed_update AFTER UPDATE ON energy_consumption REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION record_changed_consumption();
ALTER TABLE energy_consumption ENABLE ALWAYS TRIGGER record_changed_update;
CREATE OR REPLACE TRIGGER record_changed_delete AFTER DELETE ON energy_consumption REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION record_changed_consumption();
ALTER TABLE energy_consumption ENABLE ALWAYS TRIGGER record_changed_delete;
CREATE OR REPLACE TRIGGER record_attached AFTER INSERT ON ops.attached_months FOR EACH ROW
    WHEN (NEW.table_name = 'energy_consumption') EXECUTE FUNCTION record_attached_consumption();
ALTER TABLE ops.attached_months ENABLE ALWAYS TRIGGER record_attached;

-- An older version that arrives late; corrected values come from the trigger above
CREATE OR REPLACE TRIGGER record_changed_insert AFTER INSERT ON energy_consumption_revisions REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION record_changed_consumption();
ALTER TABLE energy_consumption_revisions ENABLE ALWAYS TRIGGER record_changed_insert;
