DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'ops.begun_months'::regclass AND tgname = 'attached') THEN
        CREATE CONSTRAINT TRIGGER attached AFTER INSERT ON ops.begun_months DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION ops.reject_unattached_month();
    END IF;
    ALTER TABLE ops.begun_months ENABLE ALWAYS TRIGGER attached;
END $$;
