--
-- Statistics of calls
--
CREATE SERVER counted FOREIGN DATA WRAPPER norikv OPTIONS (timeout '1min', attempt_timeout '1min');
CREATE SERVER unreachable FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:/nonexistent/socket', timeout '50ms');
SELECT norikv.stat_reset();
SET norikv.server = 'counted';
SELECT norikv.put('stat:k', repeat('x', 1000)) IS NOT NULL AS put;
SELECT count(norikv.get('stat:k')) FROM generate_series(1, 10);
\set VERBOSITY sqlstate
SELECT norikv.put('stat:k', 'y', if_absent => true);
\set VERBOSITY default
SELECT norikv.mput('{stat:a,stat:b}', '{1,2}');
SELECT count(*) FROM norikv.mget((SELECT array_agg('stat:' || i) FROM generate_series(1, 9000) i));
SELECT count(*) FROM norikv.scan('stat:');
SELECT norikv.delete('stat:k');
SET norikv.server = 'unreachable';
\set VERBOSITY sqlstate
SELECT norikv.get('stat:k');
\set VERBOSITY default
RESET norikv.server;

SELECT server, operation, calls, errors, unknown, retries = 0 AS first_try, bytes_out > 0 AS sent, bytes_in > 0 AS received
  FROM norikv.stat_calls WHERE server = 'counted' ORDER BY operation;
SELECT calls, errors, unknown, bytes_out FROM norikv.stat_calls WHERE server = 'unreachable';
SELECT calls, bytes_in > 10000 AS bytes_in FROM norikv.stat_calls WHERE server = 'counted' AND operation = 'get';

-- Times hang together.
SELECT bool_and(min_time <= p50 AND p50 <= p95 AND p95 <= p99 AND p99 <= max_time) AS percentiles,
       bool_and(abs(mean_time * calls - total_time) < 0.001) AS mean,
       bool_and(min_time <= mean_time AND mean_time <= max_time) AS between,
       bool_and(min_time > 0) AS positive
  FROM norikv.stat_calls WHERE server = 'counted';

SELECT norikv.stat_reset();
SELECT count(*) FROM norikv.stat_calls WHERE server IN ('counted', 'unreachable');
SET norikv.server = 'counted';
SELECT norikv.mdelete('{stat:a,stat:b}');
RESET norikv.server;
SELECT operation, calls FROM norikv.stat_calls WHERE server = 'counted';
DROP SERVER counted;
DROP SERVER unreachable;
