-- served_forecast() has got a fourth argument; with both functions a call of three would be ambiguous

DROP FUNCTION IF EXISTS served_forecast(uuid, timestamptz, text);
