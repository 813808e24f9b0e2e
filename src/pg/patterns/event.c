/*
 * event.c - events: an aggregate's history, in an order that nobody changes.
 *
 * events:meta:<aggregate>			the head: {version}, that of the newest event
 * events:<aggregate>:<version>		an event, from 1 on
 * events:id:<aggregate>:<id>		{version} of the event with this id
 *
 * An append is one Commit of all three, on condition that the head is still as it was
 * read: no two events get one version, and none is skipped. A key beyond the head is
 * left over of a program that died between its two writes; it is no event, and the
 * append that gets its version writes over it.
 */
#include "patterns/pattern.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#define EVENT_COLUMNS 6

PG_FUNCTION_INFO_V1(norikv_sql_event_append);
PG_FUNCTION_INFO_V1(norikv_sql_events);
PG_FUNCTION_INFO_V1(norikv_sql_event_fold);

typedef struct Event
{
	char *id;
	char *aggregate_id;
	char *type;
	norikv_slice data; /* JSON; data NULL: a program in JavaScript had undefined */
	int64 timestamp;
	int64 version;
} Event;

static const NorikvFieldRule event_fields[] = {
	NORIKV_FIELD("id", NORIKV_TYPE_TEXT, Event, id),
	NORIKV_FIELD("aggregateId", NORIKV_TYPE_TEXT, Event, aggregate_id),
	NORIKV_FIELD("type", NORIKV_TYPE_TEXT, Event, type),
	NORIKV_OPTIONAL("data", NORIKV_TYPE_JSON, Event, data, 0),
	NORIKV_FIELD("timestamp", NORIKV_TYPE_INSTANT, Event, timestamp),
	NORIKV_FIELD("version", NORIKV_TYPE_INTEGER, Event, version),
};
static const NorikvDocumentRule event_rule = {"event", event_fields,
											  lengthof(event_fields), sizeof(Event)};

/* What the head and the keys of ids say. */
typedef struct Position
{
	int64 version;
} Position;

static const NorikvFieldRule position_fields[] = {
	NORIKV_FIELD("version", NORIKV_TYPE_INTEGER, Position, version),
};
static const NorikvDocumentRule head_rule = {"head of an aggregate", position_fields,
											 lengthof(position_fields), sizeof(Position)};
static const NorikvDocumentRule id_rule = {"id of an event", position_fields,
										   lengthof(position_fields), sizeof(Position)};

/* ---- Keys ---- */

typedef struct Aggregate
{
	NorikvConnection *connection;
	char *id;	  /* in the database's encoding */
	char *prefix; /* of the keys of its events, in UTF-8 */
	char *ids;	  /* of those of their ids, too */
	norikv_slice head;
} Aggregate;

static norikv_slice
event_key(const Aggregate *aggregate, int64 version)
{
	return NorikvMakeKey(aggregate->prefix, psprintf(INT64_FORMAT, version));
}

/* The longest of its keys, that of an id, must not be too long. */
static void
set_aggregate(Aggregate *aggregate, Datum id)
{
	const char *utf8;

	if (NorikvIdIsUnder(id, "meta") || NorikvIdIsUnder(id, "id"))
		NorikvRefuseId("aggregate_id", id,
					   "The keys of \"meta\" and \"id\", and of what begins with them and "
					   "a colon, would be those of other aggregates.");
	(void) NorikvPatternKey("events:id::00000000-0000-0000-0000-000000000000", id,
							"aggregate_id");
	aggregate->id = TextDatumGetCString(id);
	utf8 = NorikvCStringToUtf8(aggregate->id);
	aggregate->prefix = psprintf("events:%s:", utf8);
	aggregate->ids = psprintf("events:id:%s:", utf8);
	aggregate->head = NorikvPatternKey("events:meta:", id, "aggregate_id");
}

/* ---- Rows ---- */

/* Absent and null are both NULL. */
static Datum
data_of(const Event *event, norikv_slice key, const NorikvConnection *connection,
		bool *is_null)
{
	NorikvDecoding decoding = {.connection = connection, .key = key};
	Datum data;

	*is_null = event->data.data == NULL ||
			   (event->data.size == 4 && memcmp(event->data.data, "null", 4) == 0);
	if (*is_null)
		return (Datum) 0;
	NorikvBeginDecoding(&decoding);
	data = DirectFunctionCall1(
		jsonb_in, CStringGetDatum(pnstrdup(event->data.data, event->data.size)));
	NorikvEndDecoding(&decoding);
	return data;
}

static void
make_row(const Event *event, norikv_slice key, const NorikvConnection *connection,
		 Datum *values, bool *nulls)
{
	memset(nulls, 0, EVENT_COLUMNS * sizeof(bool));
	values[0] = DirectFunctionCall1(uuid_in, CStringGetDatum(event->id));
	values[1] = CStringGetTextDatum(event->aggregate_id);
	values[2] = CStringGetTextDatum(event->type);
	values[3] = data_of(event, key, connection, &nulls[3]);
	values[4] = NorikvTimestampFromInstant(event->timestamp);
	values[5] = Int64GetDatum(event->version);
}

/* An event of this aggregate at its place, or an error that names the key. */
static void
read_event(const Aggregate *aggregate, int64 version, norikv_slice key,
		   norikv_slice value, Event *event)
{
	const NorikvDocument document = {.present = true, .key = key, .value = value};
	const char *fault = NULL;

	NorikvReadRecord(&event_rule, &document, aggregate->connection, event);
	if (!NorikvIsUuid(event->id))
		fault = psprintf("Its field \"id\" is no UUID: %s.", event->id);
	else if (event->version != version)
		fault = psprintf("Its field \"version\" must be " INT64_FORMAT
						 ", as the key says, but it is " INT64_FORMAT ".",
						 version, event->version);
	else if (strcmp(event->aggregate_id, aggregate->id) != 0)
		fault = psprintf("Its field \"aggregateId\" is that of another aggregate: %s.",
						 event->aggregate_id);
	if (fault != NULL)
		NorikvRaiseBroken(aggregate->connection, key, event_rule.what, fault);
}

static void
raise_missing(const Aggregate *aggregate, norikv_slice key, int64 head)
{
	ereport(ERROR, errcode(ERRCODE_DATA_CORRUPTED),
			errmsg("event %s on server \"%s\" is missing", NorikvShowKey(key),
				   aggregate->connection->name),
			errdetail("The aggregate is at version " INT64_FORMAT ".", head),
			errhint("Another program has deleted the key, or advanced the head without "
					"having written it."));
}

/* ---- Reading ---- */

/* Of an aggregate that has no events: 0. */
static int64
head_version(const Aggregate *aggregate, const NorikvDocument *head)
{
	Position position = {0};

	if (head->present)
	{
		NorikvReadRecord(&head_rule, head, aggregate->connection, &position);
		if (position.version < 0)
			NorikvRaiseBroken(aggregate->connection, head->key, head_rule.what,
							  "Its field \"version\" must not be negative.");
	}
	return position.version;
}

static int64
read_head(const Aggregate *aggregate)
{
	NorikvCall *call = NorikvStartGet(aggregate->connection, aggregate->head, "strong");
	NorikvDocument head = {.key = aggregate->head};
	const norikv_entry *entry;
	int64 version;

	NorikvFinish(call);
	entry = norikv_call_entry(call->call);
	head.present = entry->version.index != 0;
	head.value = entry->value;
	version = head_version(aggregate, &head);
	NorikvFree(call);
	return version;
}

typedef void (*EventVisitor)(const Event *event, norikv_slice key, void *arg);

/* Events from first up to (not including) end; the bytes of their values. */
static size_t
visit_batch(const Aggregate *aggregate, int64 first, int64 end, int64 head,
			EventVisitor visitor, void *arg)
{
	int n_keys = (int) (end - first);
	norikv_slice *keys = palloc(n_keys * sizeof(norikv_slice));
	MemoryContext visit_context = AllocSetContextCreate(
		CurrentMemoryContext, "norikv event", ALLOCSET_DEFAULT_SIZES);
	const norikv_entry *entries;
	NorikvCall *call;
	size_t bytes = 0;

	for (int i = 0; i < n_keys; i++)
		keys[i] = event_key(aggregate, first + i);
	call = NorikvStartMultiGet(aggregate->connection, keys, n_keys, "strong");
	entries = NorikvFinishMultiGet(call, n_keys);
	for (int i = 0; i < n_keys; i++)
	{
		MemoryContext old_context = MemoryContextSwitchTo(visit_context);
		Event event;

		if (entries[i].version.index == 0)
			raise_missing(aggregate, keys[i], head);
		read_event(aggregate, first + i, keys[i], entries[i].value, &event);
		MemoryContextSwitchTo(old_context);
		visitor(&event, keys[i], arg);
		bytes += entries[i].value.size;
		MemoryContextReset(visit_context);
	}
	NorikvFree(call);
	MemoryContextDelete(visit_context);
	return bytes;
}

/*
 * All events after a version, up to the head as it is now: they never change, so they
 * need not be of one snapshot.
 */
static void
visit_events(const Aggregate *aggregate, int64 after, EventVisitor visitor, void *arg)
{
	int fetch_size = aggregate->connection->settings.fetch_size;
	int64 head = read_head(aggregate);
	int step = Min(fetch_size, NORIKV_FIRST_KEYS);
	MemoryContext batch_context = AllocSetContextCreate(
		CurrentMemoryContext, "norikv events", ALLOCSET_DEFAULT_SIZES);

	/* the greatest bigint has no successor */
	for (int64 first = Min(after, head) + 1; first <= head;)
	{
		int64 end = Min(first + step, head + 1);
		MemoryContext old_context = MemoryContextSwitchTo(batch_context);
		size_t bytes;

		CHECK_FOR_INTERRUPTS();
		bytes = visit_batch(aggregate, first, end, head, visitor, arg);
		step = NorikvNextKeys((int) (end - first), bytes, fetch_size);
		first = end;
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(batch_context);
	}
	MemoryContextDelete(batch_context);
}

/* Rows on their way to the tuplestore. */
typedef struct RowSink
{
	const NorikvConnection *connection;
	ReturnSetInfo *result;
	MemoryContext row_context;
} RowSink;

static void
put_row(const Event *event, norikv_slice key, void *arg)
{
	RowSink *sink = arg;
	MemoryContext old_context = MemoryContextSwitchTo(sink->row_context);
	Datum values[EVENT_COLUMNS];
	bool nulls[EVENT_COLUMNS];

	make_row(event, key, sink->connection, values, nulls);
	tuplestore_putvalues(sink->result->setResult, sink->result->setDesc, values, nulls);
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(sink->row_context);
}

/* aggregate_id, after_version */
Datum
norikv_sql_events(PG_FUNCTION_ARGS)
{
	Aggregate aggregate = {.connection = NorikvGetConnection()};
	RowSink sink = {.connection = aggregate.connection};
	int64 after;

	InitMaterializedSRF(fcinfo, 0);
	sink.result = (ReturnSetInfo *) fcinfo->resultinfo;
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	after = PG_GETARG_INT64(1);
	if (after < 0)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must not be negative, but it is " INT64_FORMAT,
					   "after_version", after));
	set_aggregate(&aggregate, PG_GETARG_DATUM(0));
	sink.row_context = AllocSetContextCreate(CurrentMemoryContext, "norikv row",
											 ALLOCSET_DEFAULT_SIZES);
	visit_events(&aggregate, after, put_row, &sink);
	return (Datum) 0;
}

/* ---- Folding ---- */

static const NorikvSignature transition_signature = {
	.n_args = 3,
	.args = {JSONBOID, TEXTOID, JSONBOID},
	.result = JSONBOID,
	.shown = "(state jsonb, type text, data jsonb) that returns jsonb",
};

typedef struct Fold
{
	const NorikvConnection *connection;
	FmgrInfo transition;
	Oid collation;
	MemoryContext state_context;
	MemoryContext call_context;
	Datum state; /* in state_context */
	bool state_is_null;
} Fold;

static void
keep_state(Fold *fold, Datum state, bool is_null)
{
	MemoryContext old_context = MemoryContextSwitchTo(fold->state_context);
	Datum old = fold->state;

	fold->state = is_null ? (Datum) 0 : PointerGetDatum(PG_DETOAST_DATUM_COPY(state));
	fold->state_is_null = is_null;
	if (old != (Datum) 0)
		pfree(DatumGetPointer(old));
	MemoryContextSwitchTo(old_context);
}

/* A strict transition leaves the state where one of its arguments is NULL. */
static void
fold_event(const Event *event, norikv_slice key, void *arg)
{
	Fold *fold = arg;
	MemoryContext old_context = MemoryContextSwitchTo(fold->call_context);
	LOCAL_FCINFO(call, 3);
	Datum result;

	InitFunctionCallInfoData(*call, &fold->transition, 3, fold->collation, NULL, NULL);
	call->args[0].value = fold->state;
	call->args[0].isnull = fold->state_is_null;
	call->args[1].value = CStringGetTextDatum(event->type);
	call->args[1].isnull = false;
	call->args[2].value = data_of(event, key, fold->connection, &call->args[2].isnull);
	if (!fold->transition.fn_strict ||
		(!call->args[0].isnull && !call->args[2].isnull))
	{
		result = FunctionCallInvoke(call);
		keep_state(fold, result, call->isnull);
	}
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(fold->call_context);
}

/* aggregate_id, initial, transition */
Datum
norikv_sql_event_fold(PG_FUNCTION_ARGS)
{
	Aggregate aggregate = {.connection = NorikvGetConnection()};
	Fold fold = {.connection = aggregate.connection, .collation = PG_GET_COLLATION(),
				 .state_is_null = true, .state_context = CurrentMemoryContext};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	set_aggregate(&aggregate, PG_GETARG_DATUM(0));
	NorikvCheckFunction(PG_GETARG_OID(2), "transition", &transition_signature);
	fmgr_info(PG_GETARG_OID(2), &fold.transition);
	fold.call_context = AllocSetContextCreate(CurrentMemoryContext, "norikv fold",
											  ALLOCSET_DEFAULT_SIZES);
	if (!PG_ARGISNULL(1))
		keep_state(&fold, PG_GETARG_DATUM(1), false);
	visit_events(&aggregate, 0, fold_event, &fold);
	if (fold.state_is_null)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(fold.state);
}

/* ---- Appending ---- */

typedef struct Appending
{
	const Aggregate *aggregate;
	Event event;
	int64 expected; /* -1: any */
	norikv_slice id_key;
	int64 present; /* of the event that has the id already; 0: none has */
} Appending;

static void
raise_unexpected(const Appending *appending, int64 version)
{
	const Aggregate *aggregate = appending->aggregate;

	ereport(ERROR, errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			errmsg("aggregate \"%s\" on server \"%s\" is not at the version expected",
				   aggregate->id, aggregate->connection->name),
			errdetail("Expected version " INT64_FORMAT ", present version " INT64_FORMAT
					  ".", appending->expected, version),
			errhint("Read its newer events and decide anew."));
}

/* Documents: the head, and that of the id. */
static void
append_step(NorikvAttempt *attempt, void *arg)
{
	Appending *appending = arg;
	const Aggregate *aggregate = appending->aggregate;
	NorikvDocument *head = &attempt->documents[0];
	NorikvDocument *id = &attempt->documents[1];
	Position position;

	appending->present = 0;
	if (id->present)
	{
		NorikvReadRecord(&id_rule, id, attempt->connection, &position);
		if (position.version < 1)
			NorikvRaiseBroken(attempt->connection, id->key, id_rule.what,
							  "Its field \"version\" must be positive.");
		appending->present = position.version;
		return;
	}
	position.version = head_version(aggregate, head);
	if (appending->expected >= 0 && appending->expected != position.version)
		raise_unexpected(appending, position.version);
	if (position.version >= NORIKV_MAX_SAFE_INTEGER)
		ereport(ERROR, errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				errmsg("aggregate \"%s\" on server \"%s\" can have no more events",
					   aggregate->id, aggregate->connection->name),
				errdetail("It is at version " INT64_FORMAT ", the last that there can be.",
						  position.version));
	position.version++;
	appending->event.version = position.version;
	appending->event.timestamp = NorikvStoreTime(attempt->connection);

	NorikvPutDocument(attempt, head, NorikvWriteRecord(&head_rule, &position, head),
					  NORIKV_TTL_NONE, 0);
	NorikvPutDocument(attempt, id, NorikvWriteRecord(&id_rule, &position, NULL),
					  NORIKV_TTL_NONE, 0);
	NorikvOverwriteDocument(attempt, event_key(aggregate, position.version),
							NorikvWriteRecord(&event_rule, &appending->event, NULL));
}

static bool
is_same(const Event *a, const Event *b, norikv_slice key,
		const NorikvConnection *connection)
{
	bool a_is_null;
	bool b_is_null;
	Datum a_data = data_of(a, key, connection, &a_is_null);
	Datum b_data = data_of(b, key, connection, &b_is_null);

	if (strcmp(a->type, b->type) != 0 || a_is_null != b_is_null)
		return false;
	return a_is_null || DatumGetBool(DirectFunctionCall2(jsonb_eq, a_data, b_data));
}

/* The event that has the id: the one that is asked for again, or another one. */
static void
load_present(Appending *appending)
{
	const Aggregate *aggregate = appending->aggregate;
	norikv_slice key = event_key(aggregate, appending->present);
	NorikvCall *call = NorikvStartGet(aggregate->connection, key, "strong");
	const norikv_entry *entry;
	Event found;

	NorikvFinish(call);
	entry = norikv_call_entry(call->call);
	if (entry->version.index == 0)
		raise_missing(aggregate, key, appending->present);
	read_event(aggregate, appending->present, key, entry->value, &found);
	if (!is_same(&found, &appending->event, key, aggregate->connection))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" is the id of another event: \"%s\"", "event_id",
					   appending->event.id),
				errdetail("Event " INT64_FORMAT " of aggregate \"%s\" has it, with another "
						  "type or other data.", appending->present, aggregate->id));
	if (found.data.data != NULL)
		found.data.data = pnstrdup(found.data.data, found.data.size);
	appending->event = found;
	NorikvFree(call);
}

/* aggregate_id, type, data, expected_version, event_id */
static void
append_arguments(FunctionCallInfo fcinfo, Aggregate *aggregate, Appending *appending)
{
	static const char *const names[] = {"aggregate_id", "type", "data"};
	Jsonb *data;

	for (int i = 0; i < lengthof(names); i++)
		NorikvRequireArgument(fcinfo, i, names[i]);
	set_aggregate(aggregate, PG_GETARG_DATUM(0));
	appending->expected = PG_ARGISNULL(3) ? -1 : PG_GETARG_INT64(3);
	if (!PG_ARGISNULL(3) && appending->expected < 0)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must not be negative, but it is " INT64_FORMAT,
					   "expected_version", appending->expected));
	appending->event.id = DatumGetCString(DirectFunctionCall1(
		uuid_out, PG_ARGISNULL(4) ? DirectFunctionCall1(gen_random_uuid, (Datum) 0)
								  : PG_GETARG_DATUM(4)));
	appending->event.aggregate_id = aggregate->id;
	appending->event.type = text_to_cstring(PG_GETARG_TEXT_PP(1));
	data = PG_GETARG_JSONB_P(2);
	appending->event.data =
		NORIKV_SLICE(JsonbToCString(NULL, &data->root, VARSIZE(data)));
	appending->id_key = NorikvMakeKey(aggregate->ids, appending->event.id);
}

Datum
norikv_sql_event_append(PG_FUNCTION_ARGS)
{
	const NorikvStepOptions options = {.sql_name = "event_append()", .max_retries = -1};
	Aggregate aggregate = {
		.connection = NorikvGetWriteConnection("norikv.event_append()")};
	Appending appending = {.aggregate = &aggregate};
	norikv_slice keys[2];
	Datum values[EVENT_COLUMNS];
	bool nulls[EVENT_COLUMNS];
	TupleDesc columns;

	append_arguments(fcinfo, &aggregate, &appending);
	if (get_call_result_type(fcinfo, NULL, &columns) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	NorikvRequireTransactions(aggregate.connection, options.sql_name);
	keys[0] = aggregate.head;
	keys[1] = appending.id_key;
	NorikvRunStep(aggregate.connection, keys, lengthof(keys), append_step, &appending,
				  &options);
	if (appending.present != 0)
		load_present(&appending);
	make_row(&appending.event, keys[0], aggregate.connection, values, nulls);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(columns, values, nulls)));
}
