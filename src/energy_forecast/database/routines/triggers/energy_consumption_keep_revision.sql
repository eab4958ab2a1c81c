CREATE OR REPLACE TRIGGER energy_consumption_keep_revision BEFORE UPDATE ON energy_consumption
    FOR EACH ROW EXECUTE FUNCTION keep_consumption_revision();
ALTER TABLE energy_consumption ENABLE ALWAYS TRIGGER energy_consumption_keep_revision;
