/*
 * document.c - JSON documents that programs in other languages read and write, too.
 *
 * A pattern says which fields its document has; here they are read into a struct and
 * written back. What must hold:
 * - Fields that a pattern does not know stand in the new document as they stood in
 *   the old one, byte by byte: another program's data.
 * - A document that cannot be read as what it should be is an error that names its
 *   key. Nothing is guessed, and so nothing is written over what was not understood.
 * - What is written is read by JSON.parse as what was meant: integers within 2^53,
 *   numbers in their shortest form, infinity as null.
 */
#include "patterns/pattern.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "mb/pg_wchar.h"
#include "utils/float.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "fdw/document.h"

/* ---- Errors ---- */

void
NorikvRaiseBroken(const NorikvConnection *connection, norikv_slice key, const char *what,
				  const char *detail)
{
	ereport(ERROR, errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			errmsg("value of key %s on server \"%s\" is no %s", NorikvShowKey(key),
				   connection->name, what),
			errdetail("%s", detail),
			errhint("Another program wrote it, and it was left alone: get_bytes() shows "
					"it."));
}

/* What is being read, for errors. */
typedef struct Reading
{
	const NorikvDocumentRule *rule;
	const NorikvDocument *document;
	const NorikvConnection *connection;
} Reading;

/* What is not there yet is what a caller would have written. */
static void
raise_broken(const Reading *reading, const char *detail)
{
	if (!reading->document->present)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("what would be written to key %s on server \"%s\" is no %s",
					   NorikvShowKey(reading->document->key), reading->connection->name,
					   reading->rule->what),
				errdetail("%s", detail));
	NorikvRaiseBroken(reading->connection, reading->document->key, reading->rule->what,
					  detail);
}

static bool
read_number(const NorikvField *field, double *number)
{
	char *end;

	/* true and false are literals, too */
	if (field->kind != NORIKV_FIELD_LITERAL || field->string[0] == 't' ||
		field->string[0] == 'f')
		return false;
	*number = strtod(field->string, &end);
	return *end == '\0' && isfinite(*number);
}

static void
raise_wrong_field(const Reading *reading, const NorikvFieldRule *rule,
				  const NorikvField *field)
{
	const char *const expected[] = {
		[NORIKV_TYPE_TEXT] = "a string",
		[NORIKV_TYPE_INTEGER] = "an integer",
		[NORIKV_TYPE_TOKEN] = "an integer",
		[NORIKV_TYPE_NUMBER] = "a number",
		[NORIKV_TYPE_INSTANT] = "a number of milliseconds",
		[NORIKV_TYPE_BOOLEAN] = "true or false",
		[NORIKV_TYPE_TEXTS] = "an array of strings",
		[NORIKV_TYPE_JSON] = "there",
	};
	const char *what = expected[rule->type];
	char *detail;
	double number;

	if (field->kind == NORIKV_FIELD_ABSENT)
		detail = psprintf("It has no field \"%s\".", rule->name);
	else
	{
		int shown = pg_mbcliplen(field->json.data, field->json.size, 60);

		if ((rule->type == NORIKV_TYPE_INTEGER || rule->type == NORIKV_TYPE_INSTANT) &&
			read_number(field, &number) && fabs(number) > NORIKV_MAX_SAFE_INTEGER)
			what = psprintf("within " INT64_FORMAT " of 0", NORIKV_MAX_SAFE_INTEGER);
		detail = psprintf("Its field \"%s\" must be %s, but it is %.*s.", rule->name, what,
						  shown, (const char *) field->json.data);
	}
	raise_broken(reading, detail);
}

/* ---- Reading ---- */

/* Within what JavaScript has: 1e3 and 1000.0 are integers as well. */
static bool
read_integer(const NorikvField *field, bool cut, int64 *integer)
{
	double number;

	if (!read_number(field, &number) || fabs(number) > NORIKV_MAX_SAFE_INTEGER ||
		(!cut && number != floor(number)))
		return false;
	*integer = (int64) floor(number);
	return true;
}

/* Exact where it is spelt as an integer. */
static bool
read_token(const NorikvField *field, int64 *token)
{
	double number;
	char *end;

	if (!read_number(field, &number))
		return false;
	errno = 0;
	*token = strtoi64(field->string, &end, 10);
	return (errno == 0 && *end == '\0') || read_integer(field, false, token);
}

static bool
read_boolean(const NorikvField *field, bool *boolean)
{
	*boolean = field->kind == NORIKV_FIELD_LITERAL && strcmp(field->string, "true") == 0;
	return *boolean ||
		   (field->kind == NORIKV_FIELD_LITERAL && strcmp(field->string, "false") == 0);
}

static bool
read_texts(const NorikvField *field, NorikvTexts *texts)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue value;
	Jsonb *jsonb;

	if (field->kind != NORIKV_FIELD_NESTED || *(const char *) field->json.data != '[')
		return false;
	jsonb = DatumGetJsonbP(DirectFunctionCall1(
		jsonb_in, CStringGetDatum(pnstrdup(field->json.data, field->json.size))));
	texts->texts = palloc(sizeof(char *) * (JB_ROOT_COUNT(jsonb) + 1));
	texts->count = 0;
	iterator = JsonbIteratorInit(&jsonb->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		if (value.type != jbvString)
			return false;
		texts->texts[texts->count++] =
			pnstrdup(value.val.string.val, value.val.string.len);
	}
	return true;
}

/* False where the field is not of its type. */
static bool
read_value(const NorikvFieldRule *rule, const NorikvField *field, void *to)
{
	switch (rule->type)
	{
		case NORIKV_TYPE_TEXT:
			*(char **) to = field->string;
			return field->kind == NORIKV_FIELD_STRING;
		case NORIKV_TYPE_INTEGER:
			return read_integer(field, false, to);
		case NORIKV_TYPE_TOKEN:
			return read_token(field, to);
		case NORIKV_TYPE_INSTANT:
			return read_integer(field, true, to);
		case NORIKV_TYPE_NUMBER:
			return read_number(field, to);
		case NORIKV_TYPE_BOOLEAN:
			return read_boolean(field, to);
		case NORIKV_TYPE_TEXTS:
			return read_texts(field, to);
		case NORIKV_TYPE_JSON:
			*(norikv_slice *) to = field->json;
			return true;
	}
	return false;
}

/* What an optional field is where it is not there; the struct is zeroed. */
static void
set_absent(const NorikvFieldRule *rule, void *to)
{
	switch (rule->type)
	{
		case NORIKV_TYPE_INTEGER:
		case NORIKV_TYPE_TOKEN:
		case NORIKV_TYPE_INSTANT:
			*(int64 *) to = (int64) rule->absent;
			break;
		case NORIKV_TYPE_NUMBER:
			*(double *) to = rule->absent;
			break;
		default:
			break;
	}
}

static void
read_field(const Reading *reading, const NorikvFieldRule *rule, const NorikvField *field,
		   void *to)
{
	NorikvDecoding decoding = {.connection = reading->connection,
							   .key = reading->document->key};
	bool is_null = field->kind == NORIKV_FIELD_NULL;
	bool read;

	if (is_null && rule->type == NORIKV_TYPE_NUMBER)
		*(double *) to = get_float8_infinity();
	else if (!rule->required && (is_null || field->kind == NORIKV_FIELD_ABSENT))
		set_absent(rule, to);
	else if (field->kind == NORIKV_FIELD_ABSENT || is_null)
		raise_wrong_field(reading, rule, field);
	else
	{
		NorikvBeginDecoding(&decoding);
		read = read_value(rule, field, to);
		NorikvEndDecoding(&decoding);
		if (!read)
			raise_wrong_field(reading, rule, field);
	}
}

static NorikvField *
make_fields(const NorikvDocumentRule *rule)
{
	NorikvField *fields = palloc0(sizeof(NorikvField) * rule->n_fields);

	for (int i = 0; i < rule->n_fields; i++)
		fields[i].name = rule->fields[i].name;
	return fields;
}

void
NorikvReadRecord(const NorikvDocumentRule *rule, const NorikvDocument *document,
				 const NorikvConnection *connection, void *record)
{
	Reading reading = {rule, document, connection};
	NorikvDecoding decoding = {.connection = connection, .key = document->key};
	NorikvField *fields = make_fields(rule);
	NorikvFieldReader *reader = NorikvMakeFieldReader(fields, rule->n_fields);
	NorikvDocumentState state;

	NorikvBeginDecoding(&decoding);
	state = NorikvReadFields(reader, NorikvFromUtf8(document->value));
	if (state == NORIKV_DOCUMENT_INVALID)
		NorikvRaiseInvalidDocument(reader);
	NorikvEndDecoding(&decoding);
	if (state == NORIKV_DOCUMENT_NO_OBJECT)
		raise_broken(&reading, "It is no JSON object.");

	memset(record, 0, rule->size);
	for (int i = 0; i < rule->n_fields; i++)
		read_field(&reading, &rule->fields[i], &fields[i],
				   (char *) record + rule->fields[i].offset);
}

/* ---- Writing ---- */

static void
append_number(StringInfo json, double number)
{
	char digits[DOUBLE_SHORTEST_DECIMAL_LEN];

	if (!isfinite(number))
	{
		appendStringInfoString(json, "null");
		return;
	}
	double_to_shortest_decimal_buf(number, digits);
	appendStringInfoString(json, digits);
}

static void
append_integer(StringInfo json, const char *name, int64 integer)
{
	if (integer > NORIKV_MAX_SAFE_INTEGER || integer < -NORIKV_MAX_SAFE_INTEGER)
		ereport(ERROR, errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				errmsg("field \"%s\" cannot be " INT64_FORMAT, name, integer),
				errdetail("Programs in JavaScript read integers up to "
						  "9007199254740991 only."));
	appendStringInfo(json, INT64_FORMAT, integer);
}

static void
append_texts(StringInfo json, const NorikvTexts *texts)
{
	appendStringInfoChar(json, '[');
	for (int i = 0; i < texts->count; i++)
	{
		if (i > 0)
			appendStringInfoChar(json, ',');
		escape_json(json, texts->texts[i]);
	}
	appendStringInfoChar(json, ']');
}

/* Whether an optional field has what stands for its absence. */
static bool
is_absent(const NorikvFieldRule *rule, const void *from)
{
	if (rule->required)
		return false;
	switch (rule->type)
	{
		case NORIKV_TYPE_INTEGER:
		case NORIKV_TYPE_TOKEN:
		case NORIKV_TYPE_INSTANT:
			return *(const int64 *) from == (int64) rule->absent;
		case NORIKV_TYPE_NUMBER:
			return *(const double *) from == rule->absent;
		case NORIKV_TYPE_TEXT:
			return *(char *const *) from == NULL;
		case NORIKV_TYPE_JSON:
			return ((const norikv_slice *) from)->data == NULL;
		case NORIKV_TYPE_BOOLEAN:
			return !*(const bool *) from;
		case NORIKV_TYPE_TEXTS:
			return ((const NorikvTexts *) from)->texts == NULL;
	}
	return false;
}

static void
append_value(StringInfo json, const NorikvFieldRule *rule, const void *from)
{
	const norikv_slice *slice = from;

	switch (rule->type)
	{
		case NORIKV_TYPE_TEXT:
			escape_json(json, *(char *const *) from);
			break;
		case NORIKV_TYPE_INTEGER:
		case NORIKV_TYPE_INSTANT:
			append_integer(json, rule->name, *(const int64 *) from);
			break;
		case NORIKV_TYPE_TOKEN:
			appendStringInfo(json, INT64_FORMAT, *(const int64 *) from);
			break;
		case NORIKV_TYPE_NUMBER:
			append_number(json, *(const double *) from);
			break;
		case NORIKV_TYPE_BOOLEAN:
			appendStringInfoString(json, *(const bool *) from ? "true" : "false");
			break;
		case NORIKV_TYPE_TEXTS:
			append_texts(json, from);
			break;
		case NORIKV_TYPE_JSON:
			appendBinaryStringInfo(json, slice->data, slice->size);
			break;
	}
}

static void
begin_field(StringInfo json, const char *name)
{
	appendStringInfoChar(json, json->len == 0 ? '{' : ',');
	escape_json(json, name);
	appendStringInfoChar(json, ':');
}

/* The fields of the old document that nobody here knows. */
typedef struct Unknown
{
	const NorikvDocumentRule *rule;
	StringInfo json;
} Unknown;

static void
keep_unknown(void *arg, const char *name, norikv_slice json)
{
	Unknown *unknown = arg;

	for (int i = 0; i < unknown->rule->n_fields; i++)
	{
		if (strcmp(unknown->rule->fields[i].name, name) == 0)
			return;
	}
	begin_field(unknown->json, name);
	appendBinaryStringInfo(unknown->json, json.data, json.size);
}

bool
NorikvTryWriteRecord(const NorikvDocumentRule *rule, const void *record,
					 const NorikvDocument *old, norikv_slice *value)
{
	StringInfoData json;
	Unknown unknown = {rule, &json};

	initStringInfo(&json);
	for (int i = 0; i < rule->n_fields; i++)
	{
		const NorikvFieldRule *field = &rule->fields[i];
		const char *from = (const char *) record + field->offset;

		if (is_absent(field, from))
			continue;
		begin_field(&json, field->name);
		append_value(&json, field, from);
	}
	if (old != NULL && old->present)
		NorikvVisitFields(NorikvFromUtf8(old->value), keep_unknown, &unknown, false);
	if (json.len == 0)
		appendStringInfoChar(&json, '{');
	appendStringInfoChar(&json, '}');
	*value = NorikvToUtf8((norikv_slice){json.data, json.len});
	return value->size <= NORIKV_MAX_VALUE;
}

norikv_slice
NorikvWriteRecord(const NorikvDocumentRule *rule, const void *record,
				  const NorikvDocument *old)
{
	norikv_slice value;

	if (!NorikvTryWriteRecord(rule, record, old, &value))
		ereport(ERROR, errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				errmsg("a value must be at most %d bytes, but it is %zu",
					   NORIKV_MAX_VALUE, value.size),
				old != NULL ? errdetail("It would be that of key %s.",
										NorikvShowKey(old->key)) : 0);
	return value;
}
