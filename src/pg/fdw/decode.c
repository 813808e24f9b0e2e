/*
 * decode.c - from an entry to a row.
 *
 * A scan makes a decoder once, which knows the columns that its query needs and
 * how each is made; a row costs one pass over its value and one call of an input
 * function for each column. What cannot be made into its column's type is dealt
 * with as the option on_error says.
 */
#include "fdw/fdw.h"
#include "fdw/vector_table.h"

#include "access/sysattr.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "fdw/conversion.h"
#include "fdw/document.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

struct NorikvDecoder
{
	NorikvTable *table;
	NorikvConnection *connection;
	int natts;
	bool wants_key;
	bool wants_version;
	bool wants_ttl;
	bool wants_expires_at;
	bool wants_vector;
	NorikvConversion *value; /* NULL: not wanted */
	int n_fields;			 /* of the document, that are wanted */
	NorikvField *fields;
	NorikvConversion **conversions; /* one for each field */
	NorikvFieldReader *reader;		/* NULL: no field is wanted */
	int64 skipped;
	void *key_check; /* what domain_check() remembers */
	MemoryContext context; /* of the decoder itself */
	/* Of the row at hand, for the error context. */
	norikv_slice key;
	const char *column;
};

static bool
key_is_of_domain(const NorikvTable *table)
{
	const NorikvColumn *column = &table->columns[table->key_attnum - 1];

	return column->type != column->base_type;
}

bool
NorikvMayLeaveOutRows(const NorikvTable *table)
{
	return table->on_error == NORIKV_ON_ERROR_SKIP ||
		   (table->on_error == NORIKV_ON_ERROR_NULL &&
			(table->key_kind != NORIKV_KEY_BYTEA || key_is_of_domain(table)));
}

/* ---- Making one ---- */

static bool
is_wanted(const NorikvColumn *column, const Bitmapset *attnums, bool all)
{
	if (column->role == NORIKV_DROPPED)
		return false;
	return all || bms_is_member(column->attnum - FirstLowInvalidHeapAttributeNumber,
								attnums);
}

static void
want_field(NorikvDecoder *decoder, const NorikvColumn *column)
{
	int n = decoder->n_fields++;

	decoder->fields[n].name = column->field;
	decoder->conversions[n] = NorikvMakeConversion(column);
}

static void
want(NorikvDecoder *decoder, const NorikvColumn *column)
{
	switch (column->role)
	{
		case NORIKV_DROPPED:
			break;
		case NORIKV_KEY:
			decoder->wants_key = true;
			break;
		case NORIKV_VALUE:
			decoder->value = NorikvMakeConversion(column);
			break;
		case NORIKV_FIELD:
			want_field(decoder, column);
			break;
		case NORIKV_VERSION:
			decoder->wants_version = true;
			break;
		case NORIKV_TTL:
			decoder->wants_ttl = true;
			break;
		case NORIKV_EXPIRES_AT:
			decoder->wants_expires_at = true;
			break;
		case NORIKV_VECTOR:
			decoder->wants_vector = true;
			break;
		case NORIKV_DISTANCE: /* a scan knows it, an entry does not */
			break;
	}
}

NorikvDecoder *
NorikvMakeDecoder(NorikvTable *table, NorikvConnection *connection, TupleDesc descriptor,
				  Bitmapset *attnums, bool all)
{
	NorikvDecoder *decoder = palloc0(sizeof(NorikvDecoder));
	int whole_row = InvalidAttrNumber - FirstLowInvalidHeapAttributeNumber;

	Assert(descriptor->natts == table->n_columns);
	all |= bms_is_member(whole_row, attnums) || table->on_error == NORIKV_ON_ERROR_SKIP;
	decoder->table = table;
	decoder->connection = connection;
	decoder->natts = descriptor->natts;
	decoder->context = CurrentMemoryContext;
	decoder->wants_key = NorikvMayLeaveOutRows(table);
	decoder->fields = palloc0(sizeof(NorikvField) * Max(table->n_columns, 1));
	decoder->conversions = palloc(sizeof(NorikvConversion *) * Max(table->n_columns, 1));
	for (int i = 0; i < table->n_columns; i++)
	{
		if (is_wanted(&table->columns[i], attnums, all))
			want(decoder, &table->columns[i]);
	}
	if (decoder->n_fields > 0)
		decoder->reader = NorikvMakeFieldReader(decoder->fields, decoder->n_fields);
	return decoder;
}

bool
NorikvDecoderNeedsValues(const NorikvDecoder *decoder)
{
	return decoder->value != NULL || decoder->reader != NULL || decoder->wants_vector;
}

bool
NorikvDecoderNeedsExpiry(const NorikvDecoder *decoder)
{
	return decoder->wants_ttl || decoder->wants_expires_at;
}

int64
NorikvDecoderSkipped(const NorikvDecoder *decoder)
{
	return decoder->skipped;
}

void
NorikvReportSkipped(const NorikvDecoder *decoder)
{
	if (decoder->skipped > 0)
		ereport(NOTICE,
				errmsg_plural("left out " INT64_FORMAT " row of foreign table \"%s\" "
							  "that could not be read",
							  "left out " INT64_FORMAT " rows of foreign table \"%s\" "
							  "that could not be read",
							  decoder->skipped, decoder->skipped, decoder->table->name));
}

/* ---- Errors ---- */

static void
row_context(void *arg)
{
	const NorikvDecoder *decoder = arg;

	if (decoder->column != NULL)
		errcontext("column \"%s\" of key %s in foreign table \"%s\"", decoder->column,
				   NorikvShowKey(decoder->key), decoder->table->name);
	else
		errcontext("key %s in foreign table \"%s\"", NorikvShowKey(decoder->key),
				   decoder->table->name);
}

/* Of the data, and so of this row only; anything else ends the query. */
static bool
is_of_data(int code)
{
	int category = ERRCODE_TO_CATEGORY(code);

	return category == ERRCODE_DATA_EXCEPTION ||
		   category == ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION ||
		   category == ERRCODE_PROGRAM_LIMIT_EXCEEDED;
}

/* Something that can raise an error of the data, with the result in *arg. */
typedef void (*Attempt)(void *arg);

/*
 * False where it failed by an error of the data. Without a subtransaction: only
 * for what leaves nothing behind but memory.
 */
static bool
attempt_plainly(Attempt attempt, void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorContextCallback *callback = error_context_stack;
	volatile bool done = false;

	PG_TRY();
	{
		attempt(arg);
		done = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		if (!is_of_data(geterrcode()))
			PG_RE_THROW();
		error_context_stack = callback;
		FlushErrorState();
	}
	PG_END_TRY();
	return done;
}

/* The same for what runs code of anybody's, such as the checks of a domain. */
static bool
attempt_in_subtransaction(Attempt attempt, void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	bool done;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	done = attempt_plainly(attempt, arg);
	if (done)
		ReleaseCurrentSubTransaction();
	else
		RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return done;
}

/* ---- Rows ---- */

/* One value on its way into its column. */
typedef struct Step
{
	NorikvConversion *conversion;
	const NorikvField *field;
	TupleTableSlot *slot;
} Step;

static void
convert_step(void *arg)
{
	Step *step = arg;
	int i = NorikvConversionColumn(step->conversion)->attnum - 1;

	step->slot->tts_values[i] =
		NorikvConvert(step->conversion, step->field, &step->slot->tts_isnull[i]);
}

/* False: the row is to be left out. */
static bool
convert(NorikvDecoder *decoder, NorikvConversion *conversion, const NorikvField *field,
		TupleTableSlot *slot)
{
	Step step = {conversion, field, slot};
	const NorikvColumn *column = NorikvConversionColumn(conversion);
	bool plain;

	decoder->column = column->name;
	if (decoder->table->on_error == NORIKV_ON_ERROR_RAISE)
	{
		convert_step(&step);
		return true;
	}
	/* There are no subtransactions while a parallel query runs elsewhere in the plan. */
	plain = NorikvConversionIsPlain(conversion);
	if (!plain && IsInParallelMode())
	{
		convert_step(&step);
		return true;
	}
	if (plain ? attempt_plainly(convert_step, &step)
			  : attempt_in_subtransaction(convert_step, &step))
		return true;
	slot->tts_isnull[column->attnum - 1] = true;
	return decoder->table->on_error == NORIKV_ON_ERROR_NULL;
}

/* The value as text of the database's encoding. */
typedef struct Reading
{
	NorikvDecoder *decoder;
	norikv_slice value;
} Reading;

static void
read_text(void *arg)
{
	Reading *reading = arg;
	norikv_slice utf8 = reading->value;
	char *converted;

	pg_verify_mbstr(PG_UTF8, utf8.data, utf8.size, false);
	converted = pg_any_to_server((char *) utf8.data, utf8.size, PG_UTF8);
	if (converted != utf8.data)
		reading->value = NORIKV_SLICE(converted);
}

static void
read_document(void *arg)
{
	Reading *reading = arg;

	read_text(reading);
	switch (NorikvReadFields(reading->decoder->reader, reading->value))
	{
		case NORIKV_DOCUMENT_READ:
			break;
		case NORIKV_DOCUMENT_NO_OBJECT:
			ereport(ERROR, errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					errmsg("value is not a JSON object"));
			break;
		case NORIKV_DOCUMENT_INVALID:
			NorikvRaiseInvalidDocument(reading->decoder->reader);
	}
}

static const char *
first_field_column(const NorikvDecoder *decoder)
{
	return NorikvConversionColumn(decoder->conversions[0])->name;
}

static bool
decode_fields(NorikvDecoder *decoder, norikv_slice value, TupleTableSlot *slot)
{
	Reading reading = {decoder, value};

	decoder->column = first_field_column(decoder);
	if (decoder->table->on_error == NORIKV_ON_ERROR_RAISE)
		read_document(&reading);
	else if (!attempt_plainly(read_document, &reading))
		return decoder->table->on_error == NORIKV_ON_ERROR_NULL;

	for (int i = 0; i < decoder->n_fields; i++)
	{
		if (decoder->fields[i].kind != NORIKV_FIELD_ABSENT &&
			!convert(decoder, decoder->conversions[i], &decoder->fields[i], slot))
			return false;
	}
	return true;
}

static bool
decode_value(NorikvDecoder *decoder, norikv_slice value, TupleTableSlot *slot)
{
	const NorikvColumn *column = NorikvConversionColumn(decoder->value);
	Reading reading = {decoder, value};
	NorikvField whole = {.kind = NORIKV_FIELD_STRING};

	decoder->column = column->name;
	if (column->base_type == BYTEAOID)
	{
		slot->tts_values[column->attnum - 1] = NorikvByteaFromSlice(value);
		slot->tts_isnull[column->attnum - 1] = false;
		return true;
	}
	if (decoder->table->on_error == NORIKV_ON_ERROR_RAISE)
		read_text(&reading);
	else if (!attempt_plainly(read_text, &reading))
		return decoder->table->on_error == NORIKV_ON_ERROR_NULL;
	whole.json = reading.value;
	return convert(decoder, decoder->value, &whole, slot);
}

static Datum
time_left(uint64 expires_at_ms)
{
	Interval *left = palloc0(sizeof(Interval));
	bool is_null;
	TimestampTz end =
		DatumGetTimestampTz(NorikvTimestampFromMilliseconds(expires_at_ms, &is_null));
	TimestampTz now = GetCurrentTimestamp();

	/* The store's time decides whether a key is there: then it has some left. */
	left->time = Max(end - now, 1000);
	return IntervalPGetDatum(left);
}

/* What stands beside the value. */
static void
decode_attributes(NorikvDecoder *decoder, const norikv_entry *entry, TupleTableSlot *slot)
{
	const NorikvTable *table = decoder->table;

	if (decoder->wants_vector)
	{
		slot->tts_values[table->vector_attnum - 1] =
			NorikvVectorGetDatum(NorikvVectorOfValue(entry->value));
		slot->tts_isnull[table->vector_attnum - 1] = false;
	}
	if (decoder->wants_version && entry->version.index != 0)
	{
		slot->tts_values[table->version_attnum - 1] =
			NorikvVersionGetDatum(entry->version);
		slot->tts_isnull[table->version_attnum - 1] = false;
	}
	if (decoder->wants_expires_at)
		slot->tts_values[table->expires_at_attnum - 1] =
			NorikvTimestampFromMilliseconds(
				entry->expires_at_ms, &slot->tts_isnull[table->expires_at_attnum - 1]);
	if (decoder->wants_ttl && entry->expires_at_ms != 0)
	{
		slot->tts_values[table->ttl_attnum - 1] = time_left(entry->expires_at_ms);
		slot->tts_isnull[table->ttl_attnum - 1] = false;
	}
}

/* A key on its way into its column. */
typedef struct KeyStep
{
	NorikvDecoder *decoder;
	TupleTableSlot *slot;
} KeyStep;

static void
convert_key(void *arg)
{
	KeyStep *step = arg;
	const NorikvTable *table = step->decoder->table;
	norikv_slice key = step->decoder->key;
	const NorikvColumn *column = &table->columns[table->key_attnum - 1];
	bool of_text = table->key_kind == NORIKV_KEY_TEXT;

	if (!NorikvColumnOfKey(table, key, &step->slot->tts_values[column->attnum - 1]))
		ereport(ERROR,
				errcode(of_text ? ERRCODE_CHARACTER_NOT_IN_REPERTOIRE
								: ERRCODE_INVALID_TEXT_REPRESENTATION),
				errmsg("key %s is not of type %s", NorikvShowKey(key),
					   format_type_be(column->type)),
				of_text
					? errhint("Declare the column as bytea, or set the option on_error.")
					: errdetail("In its canonical spelling, that is."));
	step->slot->tts_isnull[column->attnum - 1] = false;
	if (key_is_of_domain(table))
		domain_check(step->slot->tts_values[column->attnum - 1], false, column->type,
					 &step->decoder->key_check, step->decoder->context);
}

/* A key has no NULL: where it is not of its type, on_error 'null' skips as well. */
static bool
decode_key(NorikvDecoder *decoder, TupleTableSlot *slot)
{
	const NorikvTable *table = decoder->table;
	KeyStep step = {decoder, slot};

	decoder->column = table->columns[table->key_attnum - 1].name;
	if (table->on_error == NORIKV_ON_ERROR_RAISE ||
		(key_is_of_domain(table) && IsInParallelMode()))
	{
		convert_key(&step);
		return true;
	}
	return key_is_of_domain(table) ? attempt_in_subtransaction(convert_key, &step)
								   : attempt_plainly(convert_key, &step);
}

static bool
decode_row(NorikvDecoder *decoder, const norikv_entry *entry, TupleTableSlot *slot)
{
	if (decoder->wants_key && !decode_key(decoder, slot))
		return false;
	if (decoder->reader != NULL && !decode_fields(decoder, entry->value, slot))
		return false;
	if (decoder->value != NULL && !decode_value(decoder, entry->value, slot))
		return false;
	decoder->column = NULL;
	decode_attributes(decoder, entry, slot);
	return true;
}

bool
NorikvDecode(NorikvDecoder *decoder, const norikv_entry *entry, TupleTableSlot *slot)
{
	ErrorContextCallback callback = {error_context_stack, row_context, decoder};
	bool decoded;

	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, sizeof(bool) * decoder->natts);
	decoder->key = entry->key;
	decoder->column = NULL;
	error_context_stack = &callback;
	decoded = decode_row(decoder, entry, slot);
	error_context_stack = callback.previous;
	if (decoded)
		ExecStoreVirtualTuple(slot);
	else
		decoder->skipped++;
	return decoded;
}
