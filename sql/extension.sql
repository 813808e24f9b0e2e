--
-- The extension itself: what it creates, for whom, under which names.
--
CREATE EXTENSION norikv;

-- Every function, aggregate and type says what it is for.
SELECT p.oid::regprocedure AS uncommented
  FROM pg_proc p
 WHERE p.pronamespace = 'norikv'::regnamespace
   AND obj_description(p.oid, 'pg_proc') IS NULL;

-- What a user calls has names for all of its arguments.
SELECT p.oid::regprocedure AS unnamed
  FROM pg_proc p
 WHERE p.pronamespace = 'norikv'::regnamespace
   AND p.prokind = 'f'
   AND p.proname NOT LIKE 'version\_%'
   AND cardinality(coalesce(p.proargnames, '{}')) < p.pronargs;

-- With norikv in search_path nothing of pg_catalog is hidden or made ambiguous.
SELECT p.oid::regprocedure AS shadowing
  FROM pg_proc p JOIN pg_proc c ON c.proname = p.proname
 WHERE p.pronamespace = 'norikv'::regnamespace
   AND c.pronamespace = 'pg_catalog'::regnamespace
   AND p.proname NOT IN ('min', 'max');

-- Nothing that talks to a server runs in a parallel worker; writers not at all
-- in a parallel plan.
\pset format unaligned
\pset footer off
SELECT p.proname, p.provolatile, p.proparallel, p.proisstrict, count(*)
  FROM pg_proc p
 WHERE p.pronamespace = 'norikv'::regnamespace
   AND p.prokind = 'f'
   AND p.proname NOT LIKE 'version\_%'
 GROUP BY 1, 2, 3, 4
 ORDER BY p.proname COLLATE "C";
\pset format aligned
\pset footer on

-- PUBLIC may not use the embedded server, nor what acts on everybody.
SELECT has_foreign_data_wrapper_privilege('public', 'norikv', 'USAGE') AS wrapper,
       has_schema_privilege('public', 'norikv', 'USAGE') AS schema,
       has_function_privilege('public', 'norikv.disconnect(name)', 'EXECUTE') AS disconnect,
       has_function_privilege('public', 'norikv.stat_reset()', 'EXECUTE') AS stat_reset,
       has_table_privilege('public', 'norikv.stat_calls', 'SELECT') AS stat_calls;

SELECT fdwname, fdwhandler::oid = 0 AS no_handler FROM pg_foreign_data_wrapper;
SELECT count(*) AS servers FROM pg_foreign_server;

-- The settings.
SELECT name, setting, context, vartype
  FROM pg_settings WHERE name IN ('norikv.server', 'norikv.allowed_nodes')
 ORDER BY name;

-- The embedded server may still be starting.
DO $$
BEGIN
    FOR i IN 1 .. 10 LOOP
        BEGIN
            PERFORM norikv.ping();
            EXIT;
        EXCEPTION WHEN sqlclient_unable_to_establish_sqlconnection OR connection_failure THEN
            NULL;
        END;
    END LOOP;
END $$;
SELECT norikv.ping() > '0' AS reachable;
