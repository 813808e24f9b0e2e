-- Jobs that several PostgreSQLs schedule, and one of them runs: pg_cron fires
-- everywhere, norikv.run_once() lets one run the command in each period.
--
--   psql -v ON_ERROR_STOP=1 -f pg_cron.sql
--
-- in the database of cron.database_name, of each PostgreSQL; it can be run again.
CREATE EXTENSION IF NOT EXISTS norikv;
CREATE EXTENSION IF NOT EXISTS pg_cron;
CREATE SCHEMA IF NOT EXISTS jobs;

-- What reservations held back and nobody bought goes back to the stock by itself, when
-- somebody looks at the item. This looks at all of them, so that the records go, too.
CREATE OR REPLACE FUNCTION jobs.sweep() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	item record;
	swept bigint := 0;
	now_ms bigint := extract(epoch FROM clock_timestamp()) * 1000;
BEGIN
	FOR item IN
		SELECT substr(key, length('inventory:') + 1) AS sku
		FROM norikv.scan('inventory:')
		WHERE key NOT LIKE 'inventory:reservation:%'
			AND EXISTS (SELECT FROM jsonb_each(value::jsonb -> 'holds')
				WHERE (jsonb_each.value ->> 'expiresAt')::bigint < now_ms)
	LOOP
		PERFORM norikv.inventory_restock(item.sku, 0);
		swept := swept + 1;
	END LOOP;
	RETURN swept;
END
$$;

-- What counters had counted at the end of each hour.
CREATE TABLE IF NOT EXISTS jobs.counter_history (
	hour timestamptz,
	counter text,
	value numeric,
	PRIMARY KEY (hour, counter)
);

CREATE OR REPLACE FUNCTION jobs.roll_up(prefix text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO jobs.counter_history
	SELECT date_trunc('hour', now()), regexp_replace(key, ':shard:\d+$', ''), sum(value::numeric)
	FROM norikv.scan(prefix)
	WHERE value ~ '^-?\d+$'
	GROUP BY 2
	ON CONFLICT (hour, counter) DO UPDATE SET value = EXCLUDED.value
$$;

-- How many keys of each kind are going to expire within a day, and when the first does.
CREATE TABLE IF NOT EXISTS jobs.expiry_report (
	at timestamptz,
	kind text,
	keys bigint,
	first_end timestamptz
);

CREATE OR REPLACE FUNCTION jobs.report_expiry() RETURNS void LANGUAGE sql AS $$
	INSERT INTO jobs.expiry_report
	SELECT now(), split_part(key, ':', 1), count(*), min(expires_at)
	FROM norikv.scan(keys_only => true)
	WHERE expires_at < now() + interval '1 day'
	GROUP BY 2
$$;

SELECT cron.schedule('norikv sweep', '* * * * *',
	$$SELECT norikv.run_once('sweep', '1 minute', 'SELECT jobs.sweep()')$$);
SELECT cron.schedule('norikv roll up', '59 * * * *',
	$$SELECT norikv.run_once('roll-up', '1 hour', 'SELECT jobs.roll_up(''page:'')')$$);
SELECT cron.schedule('norikv expiry', '30 3 * * *',
	$$SELECT norikv.run_once('expiry', '1 day', 'SELECT jobs.report_expiry()')$$);
