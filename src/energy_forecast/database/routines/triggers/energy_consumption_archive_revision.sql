CREATE OR REPLACE TRIGGER energy_consumption_correct BEFORE UPDATE ON energy_consumption
    FOR EACH ROW EXECUTE FUNCTION correct_value();
ALTER TABLE energy_consumption ENABLE ALWAYS TRIGGER energy_consumption_correct;
CREATE OR REPLACE TRIGGER energy_consumption_archive_revision AFTER UPDATE ON energy_consumption REFERENCING OLD TABLE AS corrected
    FOR EACH STATEMENT EXECUTE FUNCTION archive_consumption_revision();
ALTER TABLE energy_consumption ENABLE ALWAYS TRIGGER energy_consumption_archive_revision;
