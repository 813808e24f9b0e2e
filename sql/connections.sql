--
-- Servers, and this session's connections to them
--
SELECT norikv.disconnect() IS NOT NULL AS clean;
SELECT * FROM norikv.connections();
SELECT norikv.ping() BETWEEN '1 microsecond' AND '5 seconds' AS ping;
SELECT * FROM norikv.connections();

SELECT name, version IS NOT NULL AS version, engine, length(store_id) > 0 AS store_id,
       nodes LIKE 'unix:%' AS nodes, expiry_granularity > '0' AS granularity
  FROM norikv.server_info();
SELECT atomic_cas, "create", conditional_delete, ttl, scan, batch, transactions, add
  FROM norikv.server_info();
SELECT limits->'key_bytes' AS key_bytes, limits->'value_bytes' AS value_bytes,
       (SELECT array_agg(k ORDER BY k) FROM jsonb_object_keys(limits) k) AS limits
  FROM norikv.server_info();
SELECT epoch > 0 AS epoch, shard, node IS NOT NULL AS node, leader FROM norikv.cluster_view();

-- A server object of the default name takes over, and gives back.
SELECT norikv.put('con:k', 'v') IS NOT NULL AS put;
CREATE SERVER norikv FOREIGN DATA WRAPPER norikv OPTIONS (max_retries '3');
SELECT norikv.get('con:k');
SELECT server_name, valid FROM norikv.connections() ORDER BY 1;
ALTER SERVER norikv OPTIONS (ADD nodes 'unix:/nonexistent/socket', ADD timeout '100ms');
\set VERBOSITY sqlstate
SELECT norikv.get('con:k');
SELECT norikv.put('con:k', 'w');
SELECT norikv.mget('{con:k}');
SELECT norikv.mput('{con:k}', '{w}');
SELECT norikv.scan('con:');
SELECT norikv.ping();
SELECT norikv.server_info();
\set VERBOSITY default
ALTER SERVER norikv OPTIONS (DROP nodes, DROP timeout);
SELECT norikv.get('con:k');
ALTER SERVER norikv RENAME TO elsewhere;
SELECT norikv.get('con:k');
SELECT norikv.ping('elsewhere') > '0' AS elsewhere;

-- A connection whose server changes is closed at the end of the transaction.
BEGIN;
SELECT norikv.ping('elsewhere') > '0' AS elsewhere;
ALTER SERVER elsewhere OPTIONS (ADD timeout '6s');
SELECT server_name, valid FROM norikv.connections() WHERE server_name = 'elsewhere';
COMMIT;
SELECT server_name, valid FROM norikv.connections() WHERE server_name = 'elsewhere';

-- So is one that is not to be kept.
ALTER SERVER elsewhere OPTIONS (ADD keep_connections 'off');
BEGIN;
SELECT norikv.ping('elsewhere') > '0' AS elsewhere;
SELECT server_name, valid FROM norikv.connections() WHERE server_name = 'elsewhere';
COMMIT;
SELECT server_name, valid FROM norikv.connections() WHERE server_name = 'elsewhere';
BEGIN;
SELECT norikv.ping('elsewhere') > '0' AS elsewhere;
SELECT norikv.ping('elsewhere'), 1/0;
ROLLBACK;
SELECT server_name, valid FROM norikv.connections() WHERE server_name = 'elsewhere';
ALTER SERVER elsewhere OPTIONS (DROP keep_connections);

-- A mapping is another connection; the token is nothing that others see.
SELECT norikv.ping('elsewhere') > '0' AS elsewhere;
CREATE USER MAPPING FOR CURRENT_USER SERVER elsewhere OPTIONS (token 'secret');
SELECT norikv.ping('elsewhere') > '0' AS elsewhere;
SELECT count(*) FROM norikv.connections() WHERE server_name = 'elsewhere';
DROP USER MAPPING FOR CURRENT_USER SERVER elsewhere;

SELECT norikv.disconnect('elsewhere'), norikv.disconnect('elsewhere');
SELECT norikv.disconnect('nowhere');
SELECT norikv.ping('elsewhere') > '0' AS elsewhere;
BEGIN;
DROP SERVER elsewhere;
SELECT server_name, valid FROM norikv.connections() ORDER BY 1;
ROLLBACK;
DROP SERVER elsewhere;
SELECT norikv.disconnect();
SELECT * FROM norikv.connections();
SELECT norikv.delete('con:k');

-- Many connections in one transaction, closed together
DO $$
BEGIN
    FOR i IN 1 .. 10 LOOP
        EXECUTE format('CREATE SERVER many%s FOREIGN DATA WRAPPER norikv', i);
        PERFORM norikv.ping('many' || i);
    END LOOP;
END $$;
SELECT count(*) FROM norikv.connections();
SELECT norikv.disconnect();
DO $$ BEGIN FOR i IN 1 .. 10 LOOP EXECUTE 'DROP SERVER many' || i; END LOOP; END $$;
