CREATE OR REPLACE TRIGGER retention_policies_stamp BEFORE UPDATE ON ops.retention_policies
    FOR EACH ROW EXECUTE FUNCTION ops.stamp_retention_policy();
ALTER TABLE ops.retention_policies ENABLE ALWAYS TRIGGER retention_policies_stamp;
