ALTER TABLE model_promotions ADD COLUMN returns_to UUID REFERENCES model_promotions (id);
COMMENT ON COLUMN model_promotions.returns_to IS
    'Of a way back: the promotion whose version serves again. The next way back goes on from what was before that one';
