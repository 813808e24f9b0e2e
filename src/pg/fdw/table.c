/*
 * table.c - a relation as the wrapper sees it: its options, and what each of its
 * columns shows of an entry.
 *
 * Read from the catalogs once and kept until an invalidation of the relation. A
 * description that has become invalid is replaced at the next look, and freed
 * when the transaction ends: scans that are under way still use it.
 */
#include "fdw/fdw.h"
#include "fdw/vector_table.h"

#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "foreign/foreign.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* The C function that reads a norikv.version. */
#define VERSION_INPUT "norikv_sql_version_in"

typedef struct CachedTable
{
	Oid relid; /* the key; must stay first */
	NorikvTable *table;
} CachedTable;

static HTAB *tables = NULL;
/* Descriptions that were replaced, until the end of the transaction. */
static NorikvTable *retired = NULL;
/* Whether the end of the transaction has anything to free. */
static bool something_invalid = false;

/* ---- Roles ---- */

/* What a column is to be in a table where no column has its role as an option. */
static NorikvRole
role_by_name(const char *name, NorikvFormat format)
{
	if (strcmp(name, "key") == 0)
		return NORIKV_KEY;
	if (strcmp(name, "version") == 0)
		return NORIKV_VERSION;
	if (strcmp(name, "ttl") == 0)
		return NORIKV_TTL;
	if (strcmp(name, "expires_at") == 0)
		return NORIKV_EXPIRES_AT;
	/* A document may well have a field of this name. */
	if (strcmp(name, "value") == 0 && format != NORIKV_FORMAT_JSON)
		return NORIKV_VALUE;
	return NORIKV_FIELD;
}

static NorikvRole
role_by_option(const NorikvTable *table, const char *name,
			   const NorikvColumnOptions *options)
{
	const struct
	{
		bool given;
		NorikvRole role;
	} roles[] = {
		{options->key, NORIKV_KEY},		  {options->value, NORIKV_VALUE},
		{options->version, NORIKV_VERSION}, {options->ttl, NORIKV_TTL},
		{options->expires_at, NORIKV_EXPIRES_AT},
		{options->vector, NORIKV_VECTOR},	{options->distance, NORIKV_DISTANCE},
	};
	NorikvRole role = NORIKV_FIELD;

	for (int i = 0; i < lengthof(roles); i++)
	{
		if (!roles[i].given)
			continue;
		if (role != NORIKV_FIELD)
			ereport(ERROR, errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
					errmsg("column \"%s\" of foreign table \"%s\" has more than one role",
						   name, table->name),
					errhint("Set one of its options key, value, version, ttl, "
							"expires_at, vector and distance."));
		role = roles[i].role;
	}
	return role;
}

/* The attribute number of the one column of the role; 0: there is none. */
AttrNumber
NorikvOnlyColumn(const NorikvTable *table, NorikvRole role, const char *option)
{
	AttrNumber found = 0;

	for (int i = 0; i < table->n_columns; i++)
	{
		const NorikvColumn *column = &table->columns[i];

		if (column->role != role)
			continue;
		if (found != 0)
			ereport(ERROR, errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
					errmsg("foreign table \"%s\" has more than one column with the "
						   "option \"%s\"",
						   table->name, option),
					errdetail("They are \"%s\" and \"%s\".",
							  table->columns[found - 1].name, column->name));
		found = column->attnum;
	}
	return found;
}

/* ---- Types ---- */

void
NorikvRejectColumnType(const NorikvTable *table, const NorikvColumn *column, const char *role,
			const char *expected)
{
	ereport(ERROR, errcode(ERRCODE_FDW_INVALID_DATA_TYPE),
			errmsg("column \"%s\" of foreign table \"%s\" must be of type %s, not %s",
				   column->name, table->name, expected, format_type_be(column->type)),
			errdetail("It shows the %s.", role));
}

/* norikv.version, in whichever schema the extension is, by its input function. */
static bool
is_version_type(Oid type)
{
	HeapTuple tuple;
	Oid input;
	Oid io_param;
	bool matches;
	Datum source;
	bool is_null;

	getTypeInputInfo(type, &input, &io_param);
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(input));
	if (!HeapTupleIsValid(tuple))
		return false;
	source = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &is_null);
	matches = !is_null && strcmp(TextDatumGetCString(source), VERSION_INPUT) == 0;
	ReleaseSysCache(tuple);
	return matches;
}

static NorikvKeyKind
key_kind(const NorikvTable *table, const NorikvColumn *column)
{
	switch (column->base_type)
	{
		case TEXTOID:
		case VARCHAROID:
			return NORIKV_KEY_TEXT;
		case BYTEAOID:
			return NORIKV_KEY_BYTEA;
		case UUIDOID:
			return NORIKV_KEY_UUID;
		case INT2OID:
		case INT4OID:
		case INT8OID:
			return NORIKV_KEY_INTEGER;
		default:
			/* The blanks at the end of character(n) are none of a key's. */
			NorikvRejectColumnType(table, column, "key",
						"text, varchar, bytea, uuid, smallint, integer or bigint");
			return NORIKV_KEY_TEXT;
	}
}

static void
check_types(const NorikvTable *table)
{
	const struct
	{
		AttrNumber attnum;
		Oid type;
		const char *role;
		const char *expected;
	} fixed[] = {
		{table->ttl_attnum, INTERVALOID, "time to live", "interval"},
		{table->expires_at_attnum, TIMESTAMPTZOID, "expiry",
		 "timestamp with time zone"},
	};

	for (int i = 0; i < lengthof(fixed); i++)
	{
		const NorikvColumn *column;

		if (fixed[i].attnum == 0)
			continue;
		column = &table->columns[fixed[i].attnum - 1];
		if (column->base_type != fixed[i].type)
			NorikvRejectColumnType(table, column, fixed[i].role, fixed[i].expected);
	}
	if (table->version_attnum != 0 &&
		!is_version_type(table->columns[table->version_attnum - 1].base_type))
		NorikvRejectColumnType(table, &table->columns[table->version_attnum - 1], "version",
					"norikv.version");
}

/* Each field has one column: of two, which one would say what it becomes? */
static void
check_fields(const NorikvTable *table)
{
	for (int i = 0; i < table->n_columns; i++)
	{
		const NorikvColumn *column = &table->columns[i];

		for (int j = 0; j < i && column->role == NORIKV_FIELD; j++)
		{
			if (table->columns[j].role == NORIKV_FIELD &&
				strcmp(table->columns[j].field, column->field) == 0)
				ereport(ERROR, errcode(ERRCODE_FDW_INVALID_COLUMN_NAME),
						errmsg("foreign table \"%s\" has more than one column for the "
							   "field \"%s\"",
							   table->name, column->field),
						errdetail("They are \"%s\" and \"%s\".", table->columns[j].name,
								  column->name));
		}
	}
}

/* The value column, and the format where no option gives it. */
static void
check_format(NorikvTable *table, int given)
{
	const NorikvColumn *value;
	NorikvFormat by_type;

	if (given == NORIKV_FORMAT_JSON)
		return;
	for (int i = 0; i < table->n_columns; i++)
	{
		if (table->columns[i].role == NORIKV_FIELD)
			ereport(ERROR, errcode(ERRCODE_FDW_INVALID_COLUMN_NAME),
					errmsg("column \"%s\" of foreign table \"%s\" shows nothing of a key",
						   table->columns[i].name, table->name),
					errhint("For fields of JSON documents set the table's option format "
							"'json'; else give the column one of the options key, "
							"value, version, ttl and expires_at."));
	}
	if (table->value_attnum == 0)
	{
		table->format = given < 0 ? NORIKV_FORMAT_BYTEA : given;
		return;
	}
	value = &table->columns[table->value_attnum - 1];
	by_type = value->base_type == BYTEAOID ? NORIKV_FORMAT_BYTEA
			  : value->base_type == JSONBOID || value->base_type == JSONOID
				  ? NORIKV_FORMAT_JSONB
				  : NORIKV_FORMAT_TEXT;
	if (given >= 0 && given != by_type)
		NorikvRejectColumnType(table, value, "value",
					given == NORIKV_FORMAT_BYTEA   ? "bytea with format 'bytea'"
					: given == NORIKV_FORMAT_JSONB ? "jsonb or json with format 'jsonb'"
												   : "text with format 'text'");
	table->format = by_type;
}

/* ---- Loading ---- */

static norikv_slice
utf8_of(const char *string)
{
	char *copy = pstrdup(NorikvCStringToUtf8(string));

	return NORIKV_SLICE(copy);
}

static void
load_options(NorikvTable *table, List *given, int *format)
{
	NorikvTableOptions options;
	bool truncatable_given = false;
	char *end;
	ListCell *cell;

	foreach (cell, given)
	{
		const DefElem *def = lfirst_node(DefElem, cell);

		truncatable_given |= strcmp(def->defname, "truncatable") == 0;
	}
	NorikvLoadTableOptions(&options, given);
	if (options.space != NULL)
	{
		NorikvCheckVectorOptions(table, given);
		table->space = utf8_of(options.space);
	}
	table->prefix = utf8_of(options.prefix);
	end = palloc(Max(table->prefix.size, 1));
	table->prefix_end.data = end;
	table->prefix_end.size = norikv_prefix_end(table->prefix, end);
	table->keep_prefix = options.keep_prefix;
	table->on_error = options.on_error;
	table->immediate = options.write_mode == 1;
	table->replace = options.on_insert == 1;
	table->updatable = options.updatable;
	table->truncatable = truncatable_given
							 ? options.truncatable
							 : table->prefix.size > 0 || table->space.size > 0;
	table->batch_size = options.batch_size;
	table->fetch_size = options.fetch_size;
	table->format = options.format < 0 ? NORIKV_FORMAT_TEXT : options.format;
	*format = options.format;
}

static void
load_columns(NorikvTable *table, TupleDesc descriptor)
{
	bool by_option = false;

	table->n_columns = descriptor->natts;
	table->columns = palloc0(sizeof(NorikvColumn) * Max(descriptor->natts, 1));
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
		NorikvColumn *column = &table->columns[i];
		NorikvColumnOptions options;

		column->attnum = attribute->attnum;
		column->name = pstrdup(NameStr(attribute->attname));
		if (attribute->attisdropped)
			continue;
		NorikvLoadColumnOptions(&options,
								GetForeignColumnOptions(table->relid, attribute->attnum));
		column->type = attribute->atttypid;
		column->typmod = attribute->atttypmod;
		column->base_type = getBaseType(attribute->atttypid);
		column->field = options.field != NULL ? options.field : column->name;
		column->role = role_by_option(table, column->name, &options);
		by_option |= column->role != NORIKV_FIELD;
	}
	for (int i = 0; i < descriptor->natts && !by_option; i++)
	{
		NorikvColumn *column = &table->columns[i];

		if (column->role != NORIKV_DROPPED)
			column->role = table->space.size > 0
							   ? NorikvVectorRoleByName(column->name)
							   : role_by_name(column->name, table->format);
	}
}

static NorikvTable *
load(Relation relation)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "norikv foreign table", ALLOCSET_SMALL_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);
	NorikvTable *table = palloc0(sizeof(NorikvTable));
	ForeignTable *foreign = GetForeignTable(RelationGetRelid(relation));
	int format;

	table->context = context;
	table->relid = RelationGetRelid(relation);
	table->serverid = foreign->serverid;
	table->name = pstrdup(RelationGetRelationName(relation));
	table->estimated_rows = -1;
	load_options(table, foreign->options, &format);
	load_columns(table, RelationGetDescr(relation));
	table->key_attnum = NorikvOnlyColumn(table, NORIKV_KEY, "key");
	table->value_attnum = NorikvOnlyColumn(table, NORIKV_VALUE, "value");
	table->version_attnum = NorikvOnlyColumn(table, NORIKV_VERSION, "version");
	table->ttl_attnum = NorikvOnlyColumn(table, NORIKV_TTL, "ttl");
	table->expires_at_attnum = NorikvOnlyColumn(table, NORIKV_EXPIRES_AT, "expires_at");
	if (table->key_attnum == 0)
		ereport(ERROR, errcode(ERRCODE_FDW_COLUMN_NAME_NOT_FOUND),
				errmsg("foreign table \"%s\" has no column for the key", table->name),
				errhint("Give one column OPTIONS (key 'true'), or the name \"key\" where "
						"no column has such an option."));
	table->key_type = table->columns[table->key_attnum - 1].base_type;
	table->key_kind = key_kind(table, &table->columns[table->key_attnum - 1]);
	if (table->space.size == 0)
	{
		NorikvCheckNoVectors(table);
		check_format(table, format);
		check_fields(table);
	}
	else
		NorikvCheckVectorColumns(table);
	check_types(table);
	table->valid = true;
	MemoryContextSwitchTo(old_context);
	return table;
}

/* ---- The cache ---- */

/* relid InvalidOid: everything. Never throws. */
static void
invalidate_tables(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	CachedTable *cached;

	if (OidIsValid(relid))
	{
		cached = hash_search(tables, &relid, HASH_FIND, NULL);
		if (cached != NULL)
		{
			cached->table->valid = false;
			something_invalid = true;
		}
		return;
	}
	something_invalid = true;
	hash_seq_init(&status, tables);
	while ((cached = hash_seq_search(&status)) != NULL)
		cached->table->valid = false;
}

/* Frees what scans may have used in the transaction that is over. Never throws. */
static void
forget_invalid(XactEvent event, void *arg)
{
	HASH_SEQ_STATUS status;
	CachedTable *cached;
	NorikvTable *table;

	if (!something_invalid || (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
							   event != XACT_EVENT_PREPARE))
		return;
	something_invalid = false;
	hash_seq_init(&status, tables);
	while ((cached = hash_seq_search(&status)) != NULL)
	{
		if (cached->table->valid)
			continue;
		MemoryContextDelete(cached->table->context);
		(void) hash_search(tables, &cached->relid, HASH_REMOVE, NULL);
	}
	while ((table = retired) != NULL)
	{
		retired = table->next_retired;
		MemoryContextDelete(table->context);
	}
}

void
NorikvTableInit(void)
{
	HASHCTL control = {.keysize = sizeof(Oid),
					   .entrysize = sizeof(CachedTable),
					   .hcxt = TopMemoryContext};

	tables = hash_create("norikv foreign tables", 16, &control,
						 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(invalidate_tables, (Datum) 0);
	RegisterXactCallback(forget_invalid, NULL);
}

NorikvTable *
NorikvOpenTable(Relation relation)
{
	Oid relid = RelationGetRelid(relation);
	CachedTable *cached = hash_search(tables, &relid, HASH_FIND, NULL);
	NorikvTable *table;
	bool found;

	if (cached != NULL && cached->table->valid)
		return cached->table;

	table = load(relation);
	cached = hash_search(tables, &relid, HASH_ENTER, &found);
	if (found)
	{
		cached->table->next_retired = retired;
		retired = cached->table;
		something_invalid = true;
	}
	MemoryContextSetParent(table->context, TopMemoryContext);
	cached->table = table;
	return table;
}
