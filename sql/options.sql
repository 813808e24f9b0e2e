--
-- Options of servers and user mappings
--
CREATE SERVER o FOREIGN DATA WRAPPER norikv OPTIONS (
    nodes 'localhost:7447,127.0.0.1:7448,[::1]:7449,unix:/run/norikv.sock',
    timeout '5s', attempt_timeout '1000', connect_timeout '1min', max_retries '0',
    consistency 'eventual', trust_cas 'on', batch_size '1', fetch_size '100000',
    keep_connections 'off', read_only 'true');
CREATE USER MAPPING FOR CURRENT_USER SERVER o OPTIONS (token 'secret.token-1');

-- Misspelt, misplaced, unknown
ALTER SERVER o OPTIONS (ADD node 'x');
ALTER SERVER o OPTIONS (ADD time_out '1s');
ALTER SERVER o OPTIONS (ADD batchsize '1');
ALTER SERVER o OPTIONS (ADD token 'x');
ALTER SERVER o OPTIONS (ADD colour 'red');
ALTER USER MAPPING FOR CURRENT_USER SERVER o OPTIONS (ADD tokn 'x');
ALTER USER MAPPING FOR CURRENT_USER SERVER o OPTIONS (ADD nodes 'localhost:1');
ALTER FOREIGN DATA WRAPPER norikv OPTIONS (ADD nodes 'localhost:1');

-- Values
ALTER SERVER o OPTIONS (SET timeout '0');
ALTER SERVER o OPTIONS (SET timeout '-1s');
ALTER SERVER o OPTIONS (SET timeout '2d');
ALTER SERVER o OPTIONS (SET timeout 'soon');
ALTER SERVER o OPTIONS (SET attempt_timeout '1 fortnight');
ALTER SERVER o OPTIONS (SET max_retries '-1');
ALTER SERVER o OPTIONS (SET max_retries '1.5s');
ALTER SERVER o OPTIONS (SET consistency 'linearizable');
ALTER SERVER o OPTIONS (SET trust_cas 'perhaps');
ALTER SERVER o OPTIONS (SET batch_size '0');
ALTER SERVER o OPTIONS (SET fetch_size '100001');
ALTER SERVER o OPTIONS (SET keep_connections '2');
ALTER SERVER o OPTIONS (SET read_only '');
ALTER SERVER o OPTIONS (SET nodes '');
ALTER SERVER o OPTIONS (SET nodes 'localhost:99999');
ALTER SERVER o OPTIONS (SET nodes 'localhost:1,,localhost:2');
ALTER USER MAPPING FOR CURRENT_USER SERVER o OPTIONS (SET token '');
ALTER USER MAPPING FOR CURRENT_USER SERVER o OPTIONS (SET token E'a\nauthorization: b');

-- Nothing of that was taken over.
SELECT option_name, option_value
  FROM pg_options_to_table((SELECT srvoptions FROM pg_foreign_server WHERE srvname = 'o'));

-- Where servers of others than superusers may point to
CREATE ROLE regress_norikv_owner;
GRANT USAGE ON FOREIGN DATA WRAPPER norikv TO regress_norikv_owner;
SET ROLE regress_norikv_owner;
SHOW norikv.allowed_nodes;
SET norikv.allowed_nodes = '*';
CREATE SERVER p FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'localhost:7447, 127.0.0.1,[::1]:1');
ALTER SERVER p OPTIONS (SET nodes 'LOCALHOST');
ALTER SERVER p OPTIONS (SET nodes 'unix:/run/norikv.sock');
ALTER SERVER p OPTIONS (SET nodes 'localhost,unix:norikv/run/norikvd.sock');
ALTER SERVER p OPTIONS (SET nodes 'localhost,kv.example.com');
ALTER SERVER p OPTIONS (SET nodes 'localhost.example.com');
ALTER SERVER p OPTIONS (SET nodes '169.254.169.254:80');
ALTER SERVER p OPTIONS (SET nodes '[::2]:7447');
RESET ROLE;
SET norikv.allowed_nodes = '*.example.com, 10.0.*:7447, [fe80::*]';
SET ROLE regress_norikv_owner;
ALTER SERVER p OPTIONS (SET nodes 'a.example.com,a.b.example.com:9');
ALTER SERVER p OPTIONS (SET nodes '10.0.1.2:7447,[fe80::1]:1');
ALTER SERVER p OPTIONS (SET nodes 'example.com');
ALTER SERVER p OPTIONS (SET nodes 'a.example.com.evil.org');
ALTER SERVER p OPTIONS (SET nodes '10.0.1.2:7448');
ALTER SERVER p OPTIONS (SET nodes '10.0.1.2');
ALTER SERVER p OPTIONS (SET nodes 'localhost');
RESET ROLE;
SET norikv.allowed_nodes = '';
SET ROLE regress_norikv_owner;
ALTER SERVER p OPTIONS (SET nodes 'localhost');
-- Without nodes it is the embedded server.
ALTER SERVER p OPTIONS (DROP nodes);
RESET ROLE;
RESET norikv.allowed_nodes;
DROP SERVER p;
SET client_min_messages = warning;
DROP SERVER o CASCADE;
RESET client_min_messages;
DROP OWNED BY regress_norikv_owner;
DROP ROLE regress_norikv_owner;
