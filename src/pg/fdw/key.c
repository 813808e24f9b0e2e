/*
 * key.c - keys, and the values of the column that shows them.
 *
 * uuids and numbers have one spelling: a key that spells one otherwise is not the
 * key of any row, or a lookup and a scan would find different rows.
 */
#include "fdw/fdw.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/uuid.h"

/* Of the hyphenated form of a uuid. */
#define UUID_SPELLED 36
/* Of a bigint with its sign. */
#define INTEGER_SPELLED 20

static bool
has_prefix(norikv_slice key, norikv_slice prefix)
{
	return key.size >= prefix.size && memcmp(key.data, prefix.data, prefix.size) == 0;
}

/* The whole key, in a piece of its own: bytes may be those of a tuple. */
static norikv_slice
whole_key(const NorikvTable *table, norikv_slice bytes)
{
	size_t hidden = table->keep_prefix ? 0 : table->prefix.size;
	char *key = palloc(hidden + bytes.size + 1);

	memcpy(key, table->prefix.data, hidden);
	memcpy(key + hidden, bytes.data, bytes.size);
	return (norikv_slice){key, hidden + bytes.size};
}

/* ---- From values to keys ---- */

static norikv_slice
spell_uuid(Datum value)
{
	char *spelled = DatumGetCString(DirectFunctionCall1(uuid_out, value));

	return NORIKV_SLICE(spelled);
}

static norikv_slice
spell_integer(int64 value)
{
	char *spelled = palloc(INTEGER_SPELLED + 1);

	return (norikv_slice){spelled, pg_lltoa(value, spelled)};
}

static int64
integer_of(Datum value, Oid type)
{
	return type == INT2OID	 ? DatumGetInt16(value)
		   : type == INT4OID ? DatumGetInt32(value)
							 : DatumGetInt64(value);
}

/* The value as the column would show it, in bytes; type is of the key's kind. */
static norikv_slice
spell(const NorikvTable *table, Datum value, Oid type)
{
	switch (table->key_kind)
	{
		case NORIKV_KEY_UUID:
			return spell_uuid(value);
		case NORIKV_KEY_INTEGER:
			return spell_integer(integer_of(value, type));
		default:
			return NorikvBytesFromDatum(value, table->key_kind == NORIKV_KEY_TEXT);
	}
}

size_t
NorikvTableMaxKey(const NorikvTable *table, const NorikvConnection *connection)
{
	return table->space.size > 0 ? NORIKV_MAX_VECTOR_ID : connection->max_key;
}

norikv_slice
NorikvKeyOfColumn(const NorikvTable *table, Datum value, size_t max_key)
{
	const char *column = table->columns[table->key_attnum - 1].name;
	norikv_slice key = whole_key(table, spell(table, value, table->key_type));

	if (!has_prefix(key, table->prefix))
		ereport(ERROR, errcode(ERRCODE_CHECK_VIOLATION),
				errmsg("key %s is not of foreign table \"%s\"", NorikvShowKey(key),
					   table->name),
				errdetail("Column \"%s\" holds whole keys, and those of this table begin "
						  "with %s.",
						  column, NorikvShowKey(table->prefix)));
	if (key.size == 0 || key.size > max_key)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("key of column \"%s\" of foreign table \"%s\" must be 1 to %zu "
					   "bytes, but it is %zu",
					   column, table->name, max_key, key.size),
				key.size == 0 ? table->space.size > 0
									? errdetail("It is the id of a vector.")
									: errdetail("The table has no prefix.")
							  : errdetail("The key is %s.", NorikvShowKey(key)),
				max_key < NORIKV_MAX_KEY && table->space.size == 0
					? errhint("The tenant's prefix takes %zu of the %d bytes that a key "
							  "may have.",
							  NORIKV_MAX_KEY - max_key, NORIKV_MAX_KEY)
					: 0);
	return key;
}

static bool
in_range_of_column(const NorikvTable *table, Datum value, Oid type)
{
	int64 number;

	if (table->key_kind != NORIKV_KEY_INTEGER)
		return true;
	number = integer_of(value, type);
	return table->key_type == INT2OID	? number == (int16) number
		   : table->key_type == INT4OID ? number == (int32) number
										: true;
}

bool
NorikvKeyOfCondition(const NorikvTable *table, Datum value, Oid type, size_t max_key,
					 norikv_slice *key)
{
	*key = whole_key(table, spell(table, value, type));
	return key->size > 0 && key->size <= max_key &&
		   has_prefix(*key, table->prefix) && in_range_of_column(table, value, type);
}

/* ---- From keys to values ---- */

/* What the column shows of a key. */
static norikv_slice
shown_part(const NorikvTable *table, norikv_slice key)
{
	size_t hidden = table->keep_prefix ? 0 : table->prefix.size;

	return (norikv_slice){(const char *) key.data + hidden, key.size - hidden};
}

static bool
parse_uuid(norikv_slice part, pg_uuid_t *uuid)
{
	const char *c = part.data;
	int n = 0;

	if (part.size != UUID_SPELLED)
		return false;
	for (int i = 0; i < UUID_SPELLED; i++)
	{
		int digit;

		if (i == 8 || i == 13 || i == 18 || i == 23)
		{
			if (c[i] != '-')
				return false;
			continue;
		}
		if (c[i] >= '0' && c[i] <= '9')
			digit = c[i] - '0';
		else if (c[i] >= 'a' && c[i] <= 'f')
			digit = c[i] - 'a' + 10;
		else
			return false;
		uuid->data[n / 2] = n % 2 == 0 ? digit << 4 : uuid->data[n / 2] | digit;
		n++;
	}
	return true;
}

static bool
parse_integer(norikv_slice part, Oid type, int64 *number)
{
	const char *c = part.data;
	const char *end = c + part.size;
	bool negative = part.size > 0 && *c == '-';
	uint64 magnitude = 0;
	uint64 limit = type == INT2OID	 ? PG_INT16_MAX
				   : type == INT4OID ? PG_INT32_MAX
									 : PG_INT64_MAX;

	if (negative)
		c++;
	/* No digits, leading zeros, or minus zero: another spelling or none. */
	if (c == end || (*c == '0' && (end - c > 1 || negative)) || end - c > 19)
		return false;
	for (; c < end; c++)
	{
		if (*c < '0' || *c > '9')
			return false;
		magnitude = magnitude * 10 + (*c - '0');
	}
	if (magnitude > limit + (negative ? 1 : 0))
		return false;
	*number = negative ? (int64) (~magnitude + 1) : (int64) magnitude;
	return true;
}

static Datum
integer_datum(Oid type, int64 number)
{
	return type == INT2OID	 ? Int16GetDatum((int16) number)
		   : type == INT4OID ? Int32GetDatum((int32) number)
							 : Int64GetDatum(number);
}

/* NULL where the bytes are no text of the database's. */
static text *
text_of_utf8(norikv_slice utf8)
{
	char *string = (char *) utf8.data;

	if (!pg_verify_mbstr(PG_UTF8, utf8.data, utf8.size, true))
		return NULL;
	if (GetDatabaseEncoding() == PG_UTF8)
		return cstring_to_text_with_len(string, utf8.size);
	string = pg_any_to_server(string, utf8.size, PG_UTF8);
	return cstring_to_text_with_len(string, string == utf8.data ? utf8.size
																: strlen(string));
}

bool
NorikvColumnOfKey(const NorikvTable *table, norikv_slice key, Datum *value)
{
	norikv_slice part = shown_part(table, key);
	int64 number;
	void *made = NULL;

	switch (table->key_kind)
	{
		case NORIKV_KEY_INTEGER:
			if (!parse_integer(part, table->key_type, &number))
				return false;
			*value = integer_datum(table->key_type, number);
			return true;
		case NORIKV_KEY_UUID:
			made = palloc(sizeof(pg_uuid_t));
			if (!parse_uuid(part, made))
				return false;
			break;
		case NORIKV_KEY_BYTEA:
			*value = NorikvByteaFromSlice(part);
			return true;
		case NORIKV_KEY_TEXT:
			made = text_of_utf8(part);
			break;
	}
	*value = PointerGetDatum(made);
	return made != NULL;
}
