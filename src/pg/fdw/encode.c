/*
 * encode.c - from a row to the value of its key.
 *
 * What must hold: what a table does not show, or an UPDATE does not name, stays in
 * the document as it was: other programs read it, too.
 */
#include "fdw/fdw.h"

#include "access/sysattr.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "fdw/document.h"
#include "fdw/vector_table.h"

/* How a column becomes JSON. */
typedef enum JsonForm
{
	JSON_TEXT,
	JSON_BOOLEAN,
	JSON_INTEGER,
	JSON_JSON,
	JSON_JSONB,
	JSON_OTHER /* by to_json() */
} JsonForm;

/* A column that makes up the value, or a part of it. */
typedef struct Part
{
	const NorikvColumn *column;
	JsonForm form;
	FmgrInfo function; /* of a field to_json(), of the whole value its output */
	bool of_settings;  /* its text may depend on settings of the session */
	/* Of the row at hand. */
	bool given;	  /* its datum counts, */
	bool written; /* and is in the document already */
} Part;

struct NorikvEncoder
{
	NorikvTable *table;
	int n_fields;
	Part *fields;
	Part *value; /* NULL: the table has no column for the whole value */
	/* Of the row at hand. */
	TupleTableSlot *slot;
	StringInfoData document;
};

/* ---- Making one ---- */

static JsonForm
json_form(Oid base_type)
{
	switch (base_type)
	{
		case TEXTOID:
		case VARCHAROID:
			return JSON_TEXT;
		case BOOLOID:
			return JSON_BOOLEAN;
		case INT2OID:
		case INT4OID:
		case INT8OID:
			return JSON_INTEGER;
		case JSONOID:
			return JSON_JSON;
		case JSONBOID:
			return JSON_JSONB;
		default:
			return JSON_OTHER;
	}
}

static void
prepare_to_json(Part *part)
{
	/* The function asks for the type of its argument. */
	Const *argument = makeNullConst(part->column->type, -1, InvalidOid);

	fmgr_info(F_TO_JSON, &part->function);
	fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSON, JSONOID, list_make1(argument),
											 InvalidOid, InvalidOid,
											 COERCE_EXPLICIT_CALL),
					   &part->function);
}

static void
prepare_output(Part *part)
{
	Oid output;
	bool is_varlena;

	getTypeOutputInfo(part->column->type, &output, &is_varlena);
	fmgr_info(output, &part->function);
}

static void
init_part(Part *part, const NorikvColumn *column)
{
	part->column = column;
	part->form = json_form(column->base_type);
	part->of_settings = part->form == JSON_OTHER && column->base_type != UUIDOID &&
						column->base_type != NUMERICOID && column->base_type != BYTEAOID;
	if (column->role == NORIKV_VALUE)
		prepare_output(part);
	else if (part->form == JSON_OTHER)
		prepare_to_json(part);
}

NorikvEncoder *
NorikvMakeEncoder(NorikvTable *table, TupleDesc descriptor)
{
	NorikvEncoder *encoder = palloc0(sizeof(NorikvEncoder));

	Assert(descriptor->natts == table->n_columns);
	encoder->table = table;
	encoder->fields = palloc0(sizeof(Part) * Max(table->n_columns, 1));
	for (int i = 0; i < table->n_columns; i++)
	{
		const NorikvColumn *column = &table->columns[i];

		if (column->role == NORIKV_FIELD)
			init_part(&encoder->fields[encoder->n_fields++], column);
		else if (column->role == NORIKV_VALUE)
		{
			encoder->value = palloc0(sizeof(Part));
			init_part(encoder->value, column);
		}
	}
	return encoder;
}

/* ---- One column ---- */

/* As text that everybody reads alike, whatever the session has set. */
static int
begin_portable_text(void)
{
	const struct
	{
		const char *name;
		const char *value;
	} settings[] = {
		{"datestyle", "ISO"}, {"intervalstyle", "postgres"}, {"extra_float_digits", "3"}};
	int level = NewGUCNestLevel();

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i].name, settings[i].value, PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return level;
}

static Datum
call_portably(Part *part, Datum value)
{
	int level;
	Datum result;

	if (!part->of_settings)
		return FunctionCall1(&part->function, value);
	level = begin_portable_text();
	result = FunctionCall1(&part->function, value);
	AtEOXact_GUC(true, level);
	return result;
}

static bool
datum_of(const NorikvEncoder *encoder, const Part *part, Datum *value)
{
	bool is_null;

	*value = slot_getattr(encoder->slot, part->column->attnum, &is_null);
	return !is_null;
}

static void
append_text(StringInfo out, Datum text_datum)
{
	text *value = DatumGetTextPP(text_datum);

	appendBinaryStringInfo(out, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

static int64
integer_of(Oid type, Datum value)
{
	return type == INT2OID	 ? DatumGetInt16(value)
		   : type == INT4OID ? DatumGetInt32(value)
							 : DatumGetInt64(value);
}

static void
append_json(StringInfo out, Part *part, Datum value)
{
	switch (part->form)
	{
		case JSON_TEXT:
			escape_json(out, TextDatumGetCString(value));
			break;
		case JSON_BOOLEAN:
			appendStringInfoString(out, DatumGetBool(value) ? "true" : "false");
			break;
		case JSON_INTEGER:
			appendStringInfo(out, INT64_FORMAT,
							 integer_of(part->column->base_type, value));
			break;
		case JSON_JSON:
			append_text(out, value);
			break;
		case JSON_JSONB:
		{
			Jsonb *jsonb = DatumGetJsonbP(value);

			(void) JsonbToCString(out, &jsonb->root, VARSIZE(jsonb));
			break;
		}
		case JSON_OTHER:
			append_text(out, call_portably(part, value));
			break;
	}
}

/* ---- Documents ---- */

static void
begin_field(StringInfo document, const char *name)
{
	appendStringInfoChar(document, document->len == 0 ? '{' : ',');
	escape_json(document, name);
	appendStringInfoChar(document, ':');
}

/* NULL has no field, so that a jsonb column can hold the null of JSON. */
static void
write_field(NorikvEncoder *encoder, Part *part)
{
	Datum value;

	part->written = true;
	if (!datum_of(encoder, part, &value))
		return;
	begin_field(&encoder->document, part->column->field);
	append_json(&encoder->document, part, value);
}

/* A field of the document that there is. */
static void
keep_or_replace(void *arg, const char *name, norikv_slice json)
{
	NorikvEncoder *encoder = arg;

	for (int i = 0; i < encoder->n_fields; i++)
	{
		Part *part = &encoder->fields[i];

		if (!part->given || strcmp(part->column->field, name) != 0)
			continue;
		if (!part->written)
			write_field(encoder, part);
		return;
	}
	begin_field(&encoder->document, name);
	appendBinaryStringInfo(&encoder->document, json.data, json.size);
}

/* In the database's encoding; of the value column, or as it was. */
static norikv_slice
base_document(NorikvEncoder *encoder, norikv_slice old)
{
	Part *part = encoder->value;
	Datum value;
	char *string;

	if (part != NULL && part->given && datum_of(encoder, part, &value))
	{
		string = DatumGetCString(FunctionCall1(&part->function, value));
		return NORIKV_SLICE(string);
	}
	if (old.data == NULL)
		return old;
	pg_verify_mbstr(PG_UTF8, old.data, old.size, false);
	string = pg_any_to_server((char *) old.data, old.size, PG_UTF8);
	return string == old.data ? old : NORIKV_SLICE(string);
}

static norikv_slice
encode_document(NorikvEncoder *encoder, norikv_slice old)
{
	StringInfo document = &encoder->document;
	norikv_slice base = base_document(encoder, old);

	initStringInfo(document);
	if (base.data != NULL)
		(void) NorikvVisitFields(base, keep_or_replace, encoder, false);
	for (int i = 0; i < encoder->n_fields; i++)
	{
		Part *part = &encoder->fields[i];

		if (part->given && !part->written)
			write_field(encoder, part);
	}
	if (document->len == 0)
		appendStringInfoChar(document, '{');
	appendStringInfoChar(document, '}');
	return NorikvToUtf8((norikv_slice){document->data, document->len});
}

/* ---- Values ---- */

static norikv_slice
encode_value(NorikvEncoder *encoder)
{
	Part *part = encoder->value;
	Datum value;
	char *string;

	if (!datum_of(encoder, part, &value))
		ereport(ERROR, errcode(ERRCODE_NOT_NULL_VIOLATION),
				errmsg("null value in column \"%s\" of foreign table \"%s\"",
					   part->column->name, encoder->table->name),
				errdetail("The column holds the value of a key, and every key has one."));
	if (part->column->base_type == BYTEAOID)
		return NorikvBytesFromDatum(value, false);
	string = DatumGetCString(call_portably(part, value));
	return NorikvToUtf8(NORIKV_SLICE(string));
}

static norikv_slice
encode_vector(NorikvTable *table, TupleTableSlot *slot, const Bitmapset *changed,
			  norikv_slice old)
{
	int attnum = table->vector_attnum;
	const NorikvColumn *column = &table->columns[attnum - 1];
	bool is_null;
	Datum value;

	if (old.data != NULL &&
		!bms_is_member(attnum - FirstLowInvalidHeapAttributeNumber, changed))
		return old;
	value = slot_getattr(slot, attnum, &is_null);
	if (is_null)
		ereport(ERROR, errcode(ERRCODE_NOT_NULL_VIOLATION),
				errmsg("null value in column \"%s\" of foreign table \"%s\"",
					   column->name, table->name),
				errdetail("Every id of an index has a vector."));
	return NorikvValueOfVector(NorikvVectorFromArray(
		DatumGetArrayTypeP(value),
		psprintf("column \"%s\" of foreign table \"%s\"", column->name, table->name)));
}

/* Which columns count; whether there are any. */
static bool
mark_given(NorikvEncoder *encoder, const Bitmapset *changed)
{
	bool any = false;

	for (int i = -1; i < encoder->n_fields; i++)
	{
		Part *part = i < 0 ? encoder->value : &encoder->fields[i];

		if (part == NULL)
			continue;
		part->written = false;
		part->given =
			changed == NULL ||
			bms_is_member(part->column->attnum - FirstLowInvalidHeapAttributeNumber,
						  changed);
		any |= part->given;
	}
	return any;
}

norikv_slice
NorikvEncodeValue(NorikvEncoder *encoder, TupleTableSlot *slot, const Bitmapset *changed,
				  norikv_slice old)
{
	norikv_slice value = {"", 0};

	if (encoder->table->space.size > 0)
		return encode_vector(encoder->table, slot, changed, old);
	encoder->slot = slot;
	if (!mark_given(encoder, old.data == NULL ? NULL : changed) && old.data != NULL)
		return old;
	if (encoder->table->format == NORIKV_FORMAT_JSON)
		value = encode_document(encoder, old);
	else if (encoder->value != NULL)
		value = encode_value(encoder);
	else if (old.data != NULL)
		value = old;
	if (value.size > NORIKV_MAX_VALUE)
		ereport(ERROR, errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				errmsg("value of a row of foreign table \"%s\" has %zu bytes, the limit "
					   "is %d",
					   encoder->table->name, value.size, NORIKV_MAX_VALUE));
	return value;
}

/* ---- Expiry ---- */

/* False where the column is NULL, or there is none. */
static bool
given_datum(TupleTableSlot *slot, AttrNumber attnum, const Bitmapset *changed,
			Datum *value, bool *named)
{
	bool is_null;

	if (attnum == 0 || (changed != NULL &&
						!bms_is_member(attnum - FirstLowInvalidHeapAttributeNumber,
									   changed)))
		return false;
	*named = true;
	*value = slot_getattr(slot, attnum, &is_null);
	return !is_null;
}

NorikvExpiry
NorikvExpiryOfRow(const NorikvTable *table, TupleTableSlot *slot,
				  const Bitmapset *changed, uint64 *ms)
{
	bool named = changed == NULL;
	Datum value;

	*ms = 0;
	if (given_datum(slot, table->ttl_attnum, changed, &value, &named))
	{
		*ms = NorikvMillisecondsFromInterval(DatumGetIntervalP(value), "ttl");
		return NORIKV_EXPIRY_TTL;
	}
	if (given_datum(slot, table->expires_at_attnum, changed, &value, &named))
	{
		TimestampTz instant = DatumGetTimestampTz(value);

		if (TIMESTAMP_IS_NOEND(instant))
			return NORIKV_EXPIRY_NONE;
		/* an instant before 1970 has passed as well as any later one */
		*ms = Max(NorikvMillisecondsFromTimestamp(instant), 1);
		return NORIKV_EXPIRY_AT;
	}
	return named ? NORIKV_EXPIRY_NONE : NORIKV_EXPIRY_KEEP;
}
