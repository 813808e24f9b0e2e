-- A bank account whose truth is its events. Overdrafts are refused, also when many
-- withdraw at once: a withdrawal is decided on the account as it is at a version, and
-- appended only if it still is at that version.
--
--   psql -v ON_ERROR_STOP=1 -f bank_account.sql
--
-- makes the functions; it can be run again.
CREATE EXTENSION IF NOT EXISTS norikv;
CREATE SCHEMA IF NOT EXISTS bank;

-- The account after an event. Its version is the number of events it has seen.
CREATE OR REPLACE FUNCTION bank.apply(account jsonb, type text, data jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
	SELECT account
		|| jsonb_build_object('version', (account ->> 'version')::bigint + 1)
		|| CASE type
			WHEN 'AccountOpened' THEN '{"isOpen": true}'
			WHEN 'MoneyDeposited' THEN jsonb_build_object('balance',
				(account ->> 'balance')::numeric + (data ->> 'amount')::numeric)
			WHEN 'MoneyWithdrawn' THEN jsonb_build_object('balance',
				(account ->> 'balance')::numeric - (data ->> 'amount')::numeric)
			ELSE '{}'::jsonb
		END
$$;

CREATE OR REPLACE FUNCTION bank.account(id text) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
	SELECT norikv.event_fold('account-' || id,
		jsonb_build_object('id', id, 'balance', 0, 'isOpen', false, 'version', 0),
		'bank.apply(jsonb,text,jsonb)')
$$;

-- Decides on the account as it is, and again where another session was faster.
-- request names the wish: repeated with the same one, after an error or a crash, it
-- happens once.
CREATE OR REPLACE FUNCTION bank.happen(account_id text, kind text, amount numeric, request uuid)
RETURNS numeric LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	account jsonb;
	event norikv.event;
	data jsonb := CASE WHEN amount IS NULL THEN '{}' ELSE jsonb_build_object('amount', amount) END;
BEGIN
	IF amount <= 0 THEN
		RAISE 'an amount must be positive' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	LOOP
		account := bank.account(account_id);
		-- It happened already: then nothing is to be decided.
		SELECT e.* INTO event FROM norikv.events('account-' || account_id) e WHERE e.id = request;
		IF FOUND THEN
			RETURN (account ->> 'balance')::numeric;
		END IF;
		IF kind = 'AccountOpened' AND (account ->> 'isOpen')::boolean THEN
			RAISE 'account % is open already', account_id USING ERRCODE = 'unique_violation';
		ELSIF kind <> 'AccountOpened' AND NOT (account ->> 'isOpen')::boolean THEN
			RAISE 'account % is not open', account_id USING ERRCODE = 'no_data_found';
		ELSIF kind = 'MoneyWithdrawn' AND (account ->> 'balance')::numeric < amount THEN
			RAISE 'account % has not enough money', account_id
				USING ERRCODE = 'check_violation',
					DETAIL = format('Need %s, have %s.', amount, account ->> 'balance');
		END IF;
		BEGIN
			event := norikv.event_append('account-' || account_id, kind, data,
				expected_version => (account ->> 'version')::bigint, event_id => request);
			RETURN (bank.apply(account, kind, data) ->> 'balance')::numeric;
		EXCEPTION WHEN serialization_failure THEN
			NULL; -- another one was faster: decide anew
		END;
	END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION bank.open(account_id text, request uuid DEFAULT gen_random_uuid())
RETURNS void LANGUAGE sql VOLATILE AS $$
	SELECT bank.happen(account_id, 'AccountOpened', NULL, request)
$$;

CREATE OR REPLACE FUNCTION bank.deposit(account_id text, amount numeric, request uuid DEFAULT gen_random_uuid())
RETURNS numeric LANGUAGE sql VOLATILE AS $$
	SELECT bank.happen(account_id, 'MoneyDeposited', amount, request)
$$;

CREATE OR REPLACE FUNCTION bank.withdraw(account_id text, amount numeric, request uuid DEFAULT gen_random_uuid())
RETURNS numeric LANGUAGE sql VOLATILE AS $$
	SELECT bank.happen(account_id, 'MoneyWithdrawn', amount, request)
$$;
