/*
 * import.c - IMPORT FOREIGN SCHEMA: a table for each prefix of keys up to the first
 * colon, its columns guessed from a sample, and one for each index of vectors.
 *
 * A store has no schemas: the name of the remote one does not matter.
 */
#include "fdw/fdw.h"
#include "fdw/vector_table.h"

#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "fdw/guess.h"

#define SEPARATOR ':'
/* Keys of a page while prefixes are searched for. */
#define SEARCH_PAGE 100
#define DEFAULT_SAMPLE_SIZE 1000

typedef struct Import
{
	NorikvConnection *connection;
	const char *server;
	const char *schema;	  /* of the extension, quoted */
	int sample_size;
	List *commands;
} Import;

/* ---- One table ---- */

static void
sample(Import *import, norikv_slice prefix, NorikvGuess *guess)
{
	char *end = palloc(prefix.size);
	norikv_scan_request request = {.start = prefix,
								   .end = {end, norikv_prefix_end(prefix, end)},
								   .max_rows = import->sample_size};
	NorikvCall *call = NorikvStartScan(import->connection, &request);

	NorikvGuessInit(guess);
	NorikvFinish(call);
	do
	{
		size_t n_entries;
		const norikv_entry *entries = norikv_call_entries(call->call, &n_entries);

		for (size_t i = 0; i < n_entries; i++)
		{
			norikv_slice shown = {(const char *) entries[i].key.data + prefix.size,
								  entries[i].key.size - prefix.size};

			NorikvGuessAdd(guess, shown, entries[i].value);
		}
	} while (NorikvNextPage(call));
	NorikvFree(call);
	NorikvGuessFinish(guess);
}

/* A name as a column's, cut where it is too long for one. */
static char *
column_name(const char *name)
{
	char *result = pstrdup(name);

	result[pg_mbcliplen(name, strlen(name), NAMEDATALEN - 1)] = '\0';
	return result;
}

/* A name for the column, that no other column has. */
static const char *
unused_name(const char *wanted, List **used)
{
	char *name = column_name(wanted);
	ListCell *cell;

	for (int n = 2;; n++)
	{
		bool is_used = false;

		foreach (cell, *used)
			is_used |= strcmp(lfirst(cell), name) == 0;
		if (!is_used)
			break;
		name = psprintf("%.*s_%d", pg_mbcliplen(wanted, strlen(wanted), NAMEDATALEN - 8),
						wanted, n);
	}
	*used = lappend(*used, name);
	return name;
}

static void
add_fields(StringInfo command, const NorikvGuess *guess, List **used)
{
	for (int i = 0; i < guess->n_fields; i++)
	{
		const NorikvGuessedField *field = &guess->fields[i];
		const char *name;

		/* Columns have names. */
		if (field->name[0] == '\0')
			continue;
		name = unused_name(field->name, used);
		appendStringInfo(command, ",\n\t%s %s", quote_identifier(name), field->type);
		if (strcmp(name, field->name) != 0)
			appendStringInfo(command, " OPTIONS (field %s)",
							 quote_literal_cstr(field->name));
	}
}

/* Fields keep their names; what stands beside the value gives way. */
static void
reserve_fields(const NorikvGuess *guess, List **used)
{
	for (int i = 0; i < guess->n_fields && guess->documents; i++)
		*used = lappend(*used, column_name(guess->fields[i].name));
}

static char *
make_command(const Import *import, const char *name, const NorikvGuess *guess)
{
	StringInfoData command;
	List *reserved = NIL;
	List *used = NIL;

	reserve_fields(guess, &reserved);
	initStringInfo(&command);
	appendStringInfo(&command, "CREATE FOREIGN TABLE %s (\n\t%s %s",
					 quote_identifier(name),
					 quote_identifier(unused_name("key", &reserved)),
					 guess->keys_are_text ? "text OPTIONS (key 'true') COLLATE \"C\""
										  : "bytea OPTIONS (key 'true')");
	if (guess->documents)
		add_fields(&command, guess, &used);
	else
		appendStringInfo(&command, ",\n\tvalue %s OPTIONS (value 'true')",
						 guess->value_type);
	appendStringInfo(&command, ",\n\t%s %s.version OPTIONS (version 'true')",
					 quote_identifier(unused_name("version", &reserved)),
					 import->schema);
	appendStringInfo(&command,
					 ",\n\t%s timestamp with time zone OPTIONS (expires_at 'true')",
					 quote_identifier(unused_name("expires_at", &reserved)));
	appendStringInfo(&command, "\n) SERVER %s\nOPTIONS (prefix %s", import->server,
					 quote_literal_cstr(psprintf("%s%c", name, SEPARATOR)));
	if (guess->documents)
		appendStringInfoString(&command, ", format 'json'");
	appendStringInfoString(&command, ")");
	return command.data;
}

/* name is in the database's encoding. Nothing where there is no key. */
static void
import_table(Import *import, const char *name)
{
	char *prefix = psprintf("%s%c", NorikvCStringToUtf8(name), SEPARATOR);
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "norikv import of a table", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);
	NorikvGuess guess;
	char *command = NULL;

	sample(import, NORIKV_SLICE(prefix), &guess);
	if (guess.any_key)
		command = make_command(import, name, &guess);
	MemoryContextSwitchTo(old_context);
	if (command != NULL)
		import->commands = lappend(import->commands, pstrdup(command));
	MemoryContextDelete(context);
}

/* ---- Which tables ---- */

/* The part of a key up to its first colon, as a table's name; NULL: it is none. */
static char *
table_name(norikv_slice name)
{
	char *utf8 = pnstrdup(name.data, name.size);
	char *result;

	if (name.size == 0 || !pg_verify_mbstr(PG_UTF8, utf8, name.size, true))
		return NULL;
	result = pg_any_to_server(utf8, name.size, PG_UTF8);
	return strlen(result) < NAMEDATALEN ? result : NULL;
}

static void
import_prefix(Import *import, norikv_slice name)
{
	char *table = table_name(name);

	if (table != NULL)
		import_table(import, table);
	else
		ereport(NOTICE,
				errmsg("no foreign table for the prefix %s", NorikvShowKey(name)),
				errdetail("It is no name of a table."));
}

/*
 * The first prefix at or behind *start, with *start moved behind it. False where
 * there are no more keys. name is empty where the keys looked at have no colon.
 */
static bool
next_prefix(Import *import, norikv_slice *start, norikv_slice *name)
{
	norikv_scan_request request = {
		.start = *start, .keys_only = true, .max_rows = SEARCH_PAGE};
	NorikvCall *call = NorikvStartScan(import->connection, &request);
	const norikv_entry *entries;
	const norikv_entry *last = NULL;
	const char *colon = NULL;
	size_t n_entries;
	bool any;

	NorikvFinish(call);
	entries = norikv_call_entries(call->call, &n_entries);
	for (size_t i = 0; i < n_entries && colon == NULL; i++)
	{
		last = &entries[i];
		colon = memchr(last->key.data, SEPARATOR, last->key.size);
	}
	*name = (norikv_slice){NULL, 0};
	any = last != NULL;
	if (colon != NULL)
	{
		size_t size = colon - (const char *) last->key.data;
		char *copy = palloc(size + 1);

		memcpy(copy, last->key.data, size + 1);
		*name = (norikv_slice){copy, size};
		/* Behind all keys with the prefix: the colon's successor in its place. */
		copy = pnstrdup(copy, size + 1);
		copy[size] = SEPARATOR + 1;
		*start = (norikv_slice){copy, size + 1};
	}
	else if (any)
	{
		char *copy = palloc0(last->key.size + 1);

		memcpy(copy, last->key.data, last->key.size);
		*start = (norikv_slice){copy, last->key.size + 1};
	}
	NorikvFree(call);
	return any;
}

static void
import_all(Import *import)
{
	norikv_slice start = {NULL, 0};
	norikv_slice name;

	while (next_prefix(import, &start, &name))
	{
		CHECK_FOR_INTERRUPTS();
		if (name.data != NULL)
			import_prefix(import, name);
	}
}

static int
sample_size_option(List *options)
{
	int size = DEFAULT_SAMPLE_SIZE;
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *def = lfirst_node(DefElem, cell);

		if (strcmp(def->defname, "sample_size") != 0)
			ereport(ERROR, errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
					errmsg("invalid option \"%s\"", def->defname),
					errhint("Valid options in this context are: sample_size"));
		size = pg_strtoint32(defGetString(def));
		if (size < 1)
			ereport(ERROR, errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
					errmsg("value \"%d\" of option \"sample_size\" is out of range",
						   size),
					errdetail("It must be at least 1."));
	}
	return size;
}

List *
NorikvImportForeignSchema(ImportForeignSchemaStmt *stmt, Oid serverOid)
{
	ForeignServer *server = GetForeignServer(serverOid);
	Oid handler = GetForeignDataWrapper(server->fdwid)->fdwhandler;
	Import import = {.server = quote_identifier(server->servername)};
	ListCell *cell;

	import.connection = NorikvGetTableConnection(serverOid, GetUserId());
	import.schema = quote_identifier(get_namespace_name(get_func_namespace(handler)));
	import.sample_size = sample_size_option(stmt->options);
	/* EXCEPT is PostgreSQL's to apply. */
	if (stmt->list_type != FDW_IMPORT_SCHEMA_LIMIT_TO)
		import_all(&import);
	else
	{
		foreach (cell, stmt->table_list)
			import_table(&import, lfirst_node(RangeVar, cell)->relname);
	}
	/* Those that LIMIT TO does not name are PostgreSQL's to leave out, too. */
	return list_concat(import.commands,
					   NorikvImportIndexes(import.connection, import.server,
										   import.schema));
}
