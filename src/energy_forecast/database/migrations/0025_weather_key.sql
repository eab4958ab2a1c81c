/* The key of the weather carries the temperature: where hours arrive one by one, those of a city lie on a page each, and 30 days
   beside the weather read 720 pages of weather of 764 in all. From the key alone they read none of these, in months that were vacuumed
   since. All weather's keys are built anew, 1.5 s a million rows, while nobody reads the table. See docs/howto/performance.md. */
ALTER TABLE weather_data
    DROP CONSTRAINT weather_city_timestamp,
    ADD CONSTRAINT weather_city_timestamp PRIMARY KEY (city_id, timestamp) INCLUDE (temperature);
