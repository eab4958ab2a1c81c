-- One name, one city: two names that look alike must not be two cities. Names are composed (NFC), contain only printable
-- characters, and are compared without case. A leading = + - or @ would be a formula in a spreadsheet.
DO $$
DECLARE
    found text;
BEGIN
    SELECT string_agg(names, '; ' ORDER BY names) INTO found
    FROM (SELECT string_agg(format('%s (id %s)', name, id), ', ' ORDER BY name) AS names
          FROM cities GROUP BY lower(normalize(name, NFC)) HAVING count(*) > 1) AS alike;
    IF found IS NOT NULL THEN
        RAISE EXCEPTION 'Some cities have the same name but for case or the form of their accents: %', found
            USING HINT = 'Rename one of each by SQL as the owner (UPDATE cities SET name = ... WHERE id = ...), then run: energy-forecast db upgrade';
    END IF;
    SELECT string_agg(format('%s (id %s)', to_json(name), id), ', ' ORDER BY name) INTO found
    FROM cities
    WHERE name ~ '[\u0001-\u001F\u007F-\u00A0\u00AD\u034F\u061C\u115F\u1160\u1680\u17B4\u17B5\u180B-\u180F\u2000-\u200F\u2028-\u202F\u205F-\u206F\u3000\u3164\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFFB\U000E0000-\U000E0FFF]'
       OR name ~ '^[-=+@]' OR name LIKE '%  %';
    IF found IS NOT NULL THEN
        RAISE EXCEPTION 'Some names of cities hold invisible characters or doubled spaces, or begin with one of = + - @: %', found
            USING HINT = 'Rename them by SQL as the owner (UPDATE cities SET name = ... WHERE id = ...), then run: energy-forecast db upgrade';
    END IF;
END $$;

UPDATE cities SET name = normalize(name, NFC) WHERE name IS NOT NFC NORMALIZED;

ALTER TABLE cities
    ADD CONSTRAINT city_name_composed CHECK (name IS NFC NORMALIZED),
    ADD CONSTRAINT city_name_visible CHECK (
        name !~ '[\u0001-\u001F\u007F-\u00A0\u00AD\u034F\u061C\u115F\u1160\u1680\u17B4\u17B5\u180B-\u180F\u2000-\u200F\u2028-\u202F\u205F-\u206F\u3000\u3164\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFFB\U000E0000-\U000E0FFF]'
        AND name NOT LIKE '%  %'),
    ADD CONSTRAINT city_name_no_formula CHECK (name !~ '^[-=+@]');
COMMENT ON COLUMN cities.name IS 'By which users and files know the city; compared without case and without regard to the form of accents';
-- Serves: a city by its name in commands and files; ensures that a name belongs to one city
CREATE UNIQUE INDEX city_name_key ON cities (lower(normalize(name, NFC)));
