/*
 * vector_import.c - IMPORT FOREIGN SCHEMA: a table for each index of vectors.
 */
#include "fdw/vector_table.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"

/* Where a prefix of keys has the name already. */
#define SUFFIX "_vectors"

/* Whether IMPORT makes a table of the keys that begin with the name and a colon. */
static bool
has_keys(NorikvConnection *connection, norikv_slice space)
{
	char *prefix = psprintf("%.*s:", (int) space.size, (const char *) space.data);
	char *end = palloc(space.size + 1);
	norikv_slice start = NORIKV_SLICE(prefix);
	norikv_scan_request request = {.start = start,
								   .end = {end, norikv_prefix_end(start, end)},
								   .keys_only = true,
								   .max_rows = 1};
	NorikvCall *call = NorikvStartScan(connection, &request);
	size_t n_entries;

	NorikvFinish(call);
	(void) norikv_call_entries(call->call, &n_entries);
	NorikvFree(call);
	return n_entries > 0;
}

static char *
make_command(const char *name, norikv_slice space, const char *server,
			 const char *schema)
{
	char *utf8 = pnstrdup(space.data, space.size);
	char *shown = pg_any_to_server(utf8, space.size, PG_UTF8);

	return psprintf("CREATE FOREIGN TABLE %s (\n"
					"\tid text OPTIONS (key 'true') COLLATE \"C\",\n"
					"\tembedding real[] OPTIONS (vector 'true'),\n"
					"\tdistance real OPTIONS (distance 'true'),\n"
					"\tversion %s.version OPTIONS (version 'true')\n"
					") SERVER %s\nOPTIONS (namespace %s)",
					quote_identifier(name), schema, server, quote_literal_cstr(shown));
}

static bool
is_index(const norikv_vector_index *indexes, size_t n_indexes, norikv_slice space)
{
	for (size_t i = 0; i < n_indexes; i++)
	{
		if (NorikvCompareKeys(indexes[i].space, space) == 0)
			return true;
	}
	return false;
}

/* As bytes of the server. NULL: there is none that is free, or can be a table's. */
static char *
find_name(NorikvConnection *connection, const norikv_vector_index *indexes,
		  size_t n_indexes, norikv_slice space, const char **fault)
{
	char *name = pnstrdup(space.data, space.size);
	char *shown;

	if (has_keys(connection, space))
	{
		name = psprintf("%s%s", name, SUFFIX);
		if (has_keys(connection, NORIKV_SLICE(name)) ||
			is_index(indexes, n_indexes, NORIKV_SLICE(name)))
		{
			*fault = "Its name, and that with \"" SUFFIX "\" behind it, are taken.";
			return NULL;
		}
	}
	shown = pg_any_to_server(name, strlen(name), PG_UTF8);
	if (strlen(shown) < NAMEDATALEN)
		return shown;
	*fault = "It is no name of a table.";
	return NULL;
}

List *
NorikvImportIndexes(NorikvConnection *connection, const char *server, const char *schema)
{
	const norikv_slice all = {NULL, 0};
	NorikvCall *call = NorikvStartListIndexes(connection, all);
	const norikv_vector_index *indexes;
	List *commands = NIL;
	size_t n_indexes;

	/* A server without vectors has none to import, and that is no error. */
	if (NorikvAwait(call)->code == NORIKV_UNIMPLEMENTED)
	{
		NorikvFree(call);
		return NIL;
	}
	NorikvFinish(call);
	indexes = norikv_call_indexes(call->call, &n_indexes);
	for (size_t i = 0; i < n_indexes; i++)
	{
		norikv_slice space = indexes[i].space;
		const char *fault = NULL;
		char *name = find_name(connection, indexes, n_indexes, space, &fault);

		if (name != NULL)
			commands = lappend(commands, make_command(name, space, server, schema));
		else
			ereport(NOTICE, errmsg("no foreign table for the vector index %s",
								   NorikvShowKey(space)),
					errdetail("%s", fault));
	}
	NorikvFree(call);
	return commands;
}
