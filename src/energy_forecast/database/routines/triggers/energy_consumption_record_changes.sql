CREATE OR REPLACE TRIGGER record_changed_insert AFTER INSERT ON energy_consumption REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION record_changed_consumption();
ALTER TABLE energy_consumption ENABLE ALWAYS TRIGGER record_changed_insert;
CREATE OR REPLACE TRIGGER record_changed_update AFTER UPDATE ON energy_consumption REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION record_changed_consumption();
ALTER TABLE energy_consumption ENABLE ALWAYS TRIGGER record_changed_update;
CREATE OR REPLACE TRIGGER record_changed_delete AFTER DELETE ON energy_consumption REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION record_changed_consumption();
ALTER TABLE energy_consumption ENABLE ALWAYS TRIGGER record_changed_delete;
