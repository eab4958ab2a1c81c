CREATE OR REPLACE TRIGGER retention_policies_set_author BEFORE UPDATE ON ops.retention_policies
    FOR EACH ROW EXECUTE FUNCTION ops.set_policy_author();
ALTER TABLE ops.retention_policies ENABLE ALWAYS TRIGGER retention_policies_set_author;
