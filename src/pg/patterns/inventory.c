/*
 * inventory.c - stock that is never sold twice.
 *
 * inventory:<sku>					an item: its stock, what is reserved, and the holds
 * inventory:reservation:<uuid>		a reservation: {sku, quantity, createdAt, expiresAt}
 * inventory:reservation:key:<length of sku>:<sku>:<idempotency key>
 *									the reservation that a call with this key has made
 *
 * Item and reservation change in one Commit, so no crash leaves stock that nobody has.
 * The record of a reservation has no time to live of its own: it stays until a call
 * takes the hold back that has run out, and so nothing of it is forgotten.
 */
#include "patterns/inventory_item.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/uuid.h"

/* With the zero byte. */
#define UUID_TEXT_SIZE 37
#define ITEM_PREFIX "inventory:"
#define REQUEST_PREFIX NORIKV_RESERVATION_PREFIX "key:"
/* How long a call can be repeated with its idempotency key. */
#define REQUEST_TTL_MS (UINT64CONST(24) * 60 * 60 * 1000)

PG_FUNCTION_INFO_V1(norikv_sql_inventory_create);
PG_FUNCTION_INFO_V1(norikv_sql_inventory_restock);
PG_FUNCTION_INFO_V1(norikv_sql_inventory_reserve);
PG_FUNCTION_INFO_V1(norikv_sql_inventory_commit);
PG_FUNCTION_INFO_V1(norikv_sql_inventory_release);
PG_FUNCTION_INFO_V1(norikv_sql_inventory_available);

typedef struct Reservation
{
	char *sku;
	int64 quantity;
	int64 created_at;
	int64 expires_at; /* 0: another program's, whose record has a time to live */
} Reservation;

static const NorikvFieldRule reservation_fields[] = {
	NORIKV_FIELD("sku", NORIKV_TYPE_TEXT, Reservation, sku),
	NORIKV_FIELD("quantity", NORIKV_TYPE_INTEGER, Reservation, quantity),
	NORIKV_OPTIONAL("createdAt", NORIKV_TYPE_INSTANT, Reservation, created_at, 0),
	NORIKV_OPTIONAL("expiresAt", NORIKV_TYPE_INSTANT, Reservation, expires_at, 0),
};
static const NorikvDocumentRule reservation_rule = {
	"reservation", reservation_fields, lengthof(reservation_fields), sizeof(Reservation)};

/* What a call with an idempotency key has made. */
typedef struct Request
{
	char *reservation;
	int64 quantity;
} Request;

static const NorikvFieldRule request_fields[] = {
	NORIKV_FIELD("reservation", NORIKV_TYPE_TEXT, Request, reservation),
	NORIKV_FIELD("quantity", NORIKV_TYPE_INTEGER, Request, quantity),
};
static const NorikvDocumentRule request_rule = {"request for a reservation", request_fields,
												lengthof(request_fields), sizeof(Request)};

/* ---- Arguments ---- */

static norikv_slice
item_key(Datum sku)
{
	if (NorikvIdIsUnder(sku, "reservation"))
		NorikvRefuseId("sku", sku,
					   "The keys of \"reservation\", and of what begins with it and a "
					   "colon, are those of reservations.");
	return NorikvPatternKey(ITEM_PREFIX, sku, "sku");
}

static int64
quantity_argument(FunctionCallInfo fcinfo, int argument, int64 least)
{
	int64 quantity;

	NorikvRequireArgument(fcinfo, argument, "quantity");
	quantity = PG_GETARG_INT64(argument);
	if (quantity < least || quantity > NORIKV_MAX_SAFE_INTEGER)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must be " INT64_FORMAT " to " INT64_FORMAT
					   ", but it is " INT64_FORMAT, "quantity", least,
					   NORIKV_MAX_SAFE_INTEGER, quantity));
	return quantity;
}

/* One that surely ran out, whatever the network did to the store's answer. */
static int64
settling_time(NorikvConnection *connection)
{
	return NorikvGetStoreTimes(connection).earliest;
}

/* ---- Items ---- */

/* sku, quantity */
Datum
norikv_sql_inventory_create(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.inventory_create()");
	const norikv_slice no_idempotency_key = {NULL, 0};
	norikv_operation operation = {.kind = NORIKV_OP_PUT, .condition = NORIKV_IF_ABSENT};
	NorikvItem item = {0};
	NorikvCall *call;

	NorikvRequireArgument(fcinfo, 0, "sku");
	item.quantity = quantity_argument(fcinfo, 1, 0);
	operation.key = item_key(PG_GETARG_DATUM(0));
	NorikvRequireTransactions(connection, "inventory_create()");
	item.sku = TextDatumGetCString(PG_GETARG_DATUM(0));
	item.last_updated = NorikvStoreTime(connection);
	operation.value = NorikvNewItem(&item);
	call = NorikvStartWrite(connection, &operation, no_idempotency_key);
	NorikvFinish(call);
	NorikvFree(call);
	PG_RETURN_VOID();
}

static void
raise_not_enough(norikv_slice key, const NorikvConnection *connection, int64 need,
				 int64 have)
{
	ereport(ERROR, errcode(ERRCODE_NORIKV_NOT_ENOUGH_STOCK),
			errmsg("not enough stock of item %s on server \"%s\"", NorikvShowKey(key),
				   connection->name),
			errdetail("Need " INT64_FORMAT ", have " INT64_FORMAT ".", need, have));
}

/* What the steps below are handed, and what they leave. */
typedef struct Stock
{
	int64 delta;
	int64 quantity;
} Stock;

static void
restock_step(NorikvAttempt *attempt, void *arg)
{
	Stock *stock = arg;
	NorikvDocument *document = &attempt->documents[0];
	NorikvItem item;

	NorikvReadItem(document, attempt->connection, &item);
	if (!NorikvSettleItem(attempt, &item, settling_time(attempt->connection), true))
		return;
	if (stock->delta < 0 && item.quantity + stock->delta < item.reserved)
		raise_not_enough(document->key, attempt->connection, -stock->delta,
						 Max(item.quantity - item.reserved, 0));
	if (item.quantity + stock->delta > NORIKV_MAX_SAFE_INTEGER)
		ereport(ERROR, errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				errmsg("stock of item %s on server \"%s\" cannot be changed by " INT64_FORMAT,
					   NorikvShowKey(document->key), attempt->connection->name,
					   stock->delta),
				errdetail("It is " INT64_FORMAT ", the limit is " INT64_FORMAT ".",
						  item.quantity, NORIKV_MAX_SAFE_INTEGER));
	item.quantity += stock->delta;
	stock->quantity = item.quantity;
	NorikvPutItem(attempt, document, &item);
}

/* sku, delta */
Datum
norikv_sql_inventory_restock(PG_FUNCTION_ARGS)
{
	const NorikvStepOptions options = {.sql_name = "inventory_restock()",
									   .max_retries = -1};
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.inventory_restock()");
	Stock stock;
	norikv_slice key;

	NorikvRequireArgument(fcinfo, 0, "sku");
	NorikvRequireArgument(fcinfo, 1, "delta");
	stock.delta = PG_GETARG_INT64(1);
	if (stock.delta < -NORIKV_MAX_SAFE_INTEGER || stock.delta > NORIKV_MAX_SAFE_INTEGER)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must be within " INT64_FORMAT
					   " of 0, but it is " INT64_FORMAT, "delta",
					   NORIKV_MAX_SAFE_INTEGER, stock.delta));
	key = item_key(PG_GETARG_DATUM(0));
	NorikvRequireTransactions(connection, options.sql_name);
	NorikvRunStep(connection, &key, 1, restock_step, &stock, &options);
	PG_RETURN_INT64(stock.quantity);
}

/* Writes nothing: what has run out counts as available, and is left for a writer. */
static void
available_step(NorikvAttempt *attempt, void *arg)
{
	Stock *stock = arg;
	NorikvItem item;

	NorikvReadItem(&attempt->documents[0], attempt->connection, &item);
	if (NorikvSettleItem(attempt, &item, settling_time(attempt->connection), false))
		stock->quantity = Max(item.quantity - item.reserved, 0);
}

/* sku */
Datum
norikv_sql_inventory_available(PG_FUNCTION_ARGS)
{
	const NorikvStepOptions options = {.sql_name = "inventory_available()"};
	NorikvConnection *connection = NorikvGetConnection();
	Stock stock;
	norikv_slice key;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	key = item_key(PG_GETARG_DATUM(0));
	NorikvRunStep(connection, &key, 1, available_step, &stock, &options);
	PG_RETURN_INT64(stock.quantity);
}

/* ---- Reserving ---- */

typedef struct Reserving
{
	int64 quantity;
	int64 hold_ms;
	char *reservation; /* a UUID: a new one, or that of the request */
	char *sku;
	bool keyed; /* the second document is that of the request */
} Reserving;

/* True: the call was made before, and this is its answer. */
static bool
was_requested(NorikvAttempt *attempt, Reserving *reserving)
{
	NorikvDocument *document = &attempt->documents[1];
	Request request;

	if (!reserving->keyed || !document->present)
		return false;
	NorikvReadRecord(&request_rule, document, attempt->connection, &request);
	if (request.quantity != reserving->quantity)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" was used for another reservation",
					   "idempotency_key"),
				errdetail("That was of " INT64_FORMAT ", this is of " INT64_FORMAT ".",
						  request.quantity, reserving->quantity));
	if (!NorikvIsUuid(request.reservation))
		NorikvRaiseBroken(attempt->connection, document->key, request_rule.what,
						  "Its field \"reservation\" is no UUID.");
	/* For the caller: what a try allocates goes with it. */
	strlcpy(reserving->reservation, request.reservation, UUID_TEXT_SIZE);
	return true;
}

static void
put_records(NorikvAttempt *attempt, const Reserving *reserving,
			const Reservation *reservation)
{
	Request request = {reserving->reservation, reserving->quantity};

	NorikvCreateDocument(attempt,
						 NorikvMakeKey(NORIKV_RESERVATION_PREFIX, reserving->reservation),
						 NorikvWriteRecord(&reservation_rule, reservation, NULL),
						 NORIKV_TTL_NONE, 0);
	if (reserving->keyed)
		NorikvPutDocument(attempt, &attempt->documents[1],
						  NorikvWriteRecord(&request_rule, &request, NULL),
						  NORIKV_TTL_SET, REQUEST_TTL_MS);
}

/* Documents: the item and, with an idempotency key, that of the request. */
static void
reserve_step(NorikvAttempt *attempt, void *arg)
{
	Reserving *reserving = arg;
	NorikvDocument *document = &attempt->documents[0];
	Reservation reservation = {reserving->sku, reserving->quantity};
	NorikvItem item;

	if (was_requested(attempt, reserving))
		return;
	NorikvReadItem(document, attempt->connection, &item);
	if (!NorikvSettleItem(attempt, &item, settling_time(attempt->connection), true))
		return;
	if (item.quantity - item.reserved < reserving->quantity)
		raise_not_enough(document->key, attempt->connection, reserving->quantity,
						 Max(item.quantity - item.reserved, 0));
	reservation.created_at = NorikvStoreTime(attempt->connection);
	reservation.expires_at = reservation.created_at + reserving->hold_ms;
	item.reserved += reserving->quantity;
	NorikvAddHold(&item, reserving->reservation, reserving->quantity,
				  reservation.expires_at);
	NorikvPutItem(attempt, document, &item);
	put_records(attempt, reserving, &reservation);
}

/* The idempotency key is one of this item's: both may have colons, hence the length. */
static norikv_slice
request_key(FunctionCallInfo fcinfo, const char *sku)
{
	const char *utf8 = NorikvCStringToUtf8(sku);
	const char *prefix = psprintf(REQUEST_PREFIX "%zu:%s:", strlen(utf8), utf8);

	if (strlen(prefix) >= NORIKV_MAX_KEY)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" is too long for a call with an idempotency key",
					   "sku"),
				errdetail("It has %zu bytes. With it and the idempotency key, the key of "
						  "the request may have %d.", strlen(utf8), NORIKV_MAX_KEY));
	return NorikvPatternKey(prefix, PG_GETARG_DATUM(3), "idempotency_key");
}

/* sku, quantity, hold, idempotency_key */
Datum
norikv_sql_inventory_reserve(PG_FUNCTION_ARGS)
{
	const NorikvStepOptions options = {.sql_name = "inventory_reserve()",
									   .max_retries = -1};
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.inventory_reserve()");
	Reserving reserving = {.keyed = !PG_ARGISNULL(3)};
	norikv_slice keys[2];
	Datum new_uuid;

	NorikvRequireArgument(fcinfo, 0, "sku");
	NorikvRequireArgument(fcinfo, 2, "hold");
	reserving.quantity = quantity_argument(fcinfo, 1, 1);
	reserving.hold_ms = NorikvMillisecondsFromInterval(PG_GETARG_INTERVAL_P(2), "hold");
	reserving.sku = TextDatumGetCString(PG_GETARG_DATUM(0));
	keys[0] = item_key(PG_GETARG_DATUM(0));
	if (reserving.keyed)
		keys[1] = request_key(fcinfo, reserving.sku);
	NorikvRequireTransactions(connection, options.sql_name);
	new_uuid = DirectFunctionCall1(gen_random_uuid, (Datum) 0);
	reserving.reservation = DatumGetCString(DirectFunctionCall1(uuid_out, new_uuid));
	NorikvRunStep(connection, keys, reserving.keyed ? 2 : 1, reserve_step, &reserving,
				  &options);
	PG_RETURN_DATUM(
		DirectFunctionCall1(uuid_in, CStringGetDatum(reserving.reservation)));
}

/* ---- Settling a reservation ---- */

typedef enum Outcome
{
	OUTCOME_DONE,
	OUTCOME_GONE,	/* there is no such reservation, or not any more */
	OUTCOME_RAN_OUT /* and is taken back now */
} Outcome;

typedef struct Ending
{
	const char *reservation;
	bool sells; /* the stock goes, and is not given back */
	Outcome outcome;
} Ending;

/* Of another program's record: whether there can be such an item. */
static bool
is_sku(const char *sku)
{
	const char *utf8 = NorikvCStringToUtf8(sku);

	return utf8[0] != '\0' && strlen(utf8) <= NORIKV_MAX_KEY - strlen(ITEM_PREFIX) &&
		   !NorikvIdIsUnder(CStringGetTextDatum(sku), "reservation");
}

/* The item that a reservation is of, once it was read; NULL: not yet. */
static NorikvDocument *
item_of(NorikvAttempt *attempt, const Reservation *reservation)
{
	norikv_slice key =
		NorikvPatternKey(ITEM_PREFIX, CStringGetTextDatum(reservation->sku), "sku");
	NorikvDocument *document = NorikvFindDocument(attempt, key);

	if (document == NULL)
		NorikvReadAlso(attempt, key);
	return document;
}

/*
 * A reservation without a hold was made by another program, and is settled as that
 * would do it. One whose hold is gone after settling has run out.
 */
static void
end_step(NorikvAttempt *attempt, void *arg)
{
	Ending *ending = arg;
	NorikvDocument *record = &attempt->documents[0];
	NorikvDocument *document;
	Reservation reservation;
	NorikvItem item;
	bool had_hold;
	int hold;

	ending->outcome = OUTCOME_GONE;
	if (!record->present)
		return;
	NorikvReadRecord(&reservation_rule, record, attempt->connection, &reservation);
	if (reservation.quantity < 0)
		NorikvRaiseBroken(attempt->connection, record->key, reservation_rule.what,
						  "Its field \"quantity\" must not be negative.");
	if (!is_sku(reservation.sku))
		NorikvRaiseBroken(attempt->connection, record->key, reservation_rule.what,
						  "Its field \"sku\" cannot be the name of an item.");
	document = item_of(attempt, &reservation);
	if (document == NULL)
		return;
	NorikvReadItem(document, attempt->connection, &item);
	had_hold = NorikvFindHold(&item, ending->reservation) >= 0;
	if (!NorikvSettleItem(attempt, &item, settling_time(attempt->connection), true))
		return;
	hold = NorikvFindHold(&item, ending->reservation);
	ending->outcome = had_hold && hold < 0 ? OUTCOME_RAN_OUT : OUTCOME_DONE;
	if (ending->outcome == OUTCOME_DONE)
	{
		item.reserved = Max(item.reserved - reservation.quantity, 0);
		if (ending->sells)
			item.quantity -= reservation.quantity;
		if (hold >= 0)
			NorikvDropHold(&item, hold);
		NorikvDeleteDocument(attempt, record);
	}
	NorikvPutItem(attempt, document, &item);
}

static Datum
end_reservation(FunctionCallInfo fcinfo, const char *sql_name, bool sells)
{
	const NorikvStepOptions options = {.sql_name = sql_name + strlen("norikv."),
									   .max_retries = -1};
	NorikvConnection *connection = NorikvGetWriteConnection(sql_name);
	Ending ending = {.sells = sells};
	norikv_slice key;

	NorikvRequireArgument(fcinfo, 0, "reservation");
	ending.reservation =
		DatumGetCString(DirectFunctionCall1(uuid_out, PG_GETARG_DATUM(0)));
	key = NorikvMakeKey(NORIKV_RESERVATION_PREFIX, ending.reservation);
	NorikvRequireTransactions(connection, options.sql_name);
	NorikvRunStep(connection, &key, 1, end_step, &ending, &options);
	if (ending.outcome != OUTCOME_DONE)
		ereport(ERROR, errcode(ERRCODE_NO_DATA_FOUND),
				errmsg("there is no reservation %s on server \"%s\"", ending.reservation,
					   connection->name),
				ending.outcome == OUTCOME_RAN_OUT
					? errdetail("Its time has run out, and what it held was given back.")
					: errdetail("It was committed or released, it has run out, or there "
								"never was one."));
	PG_RETURN_VOID();
}

/* reservation */
Datum
norikv_sql_inventory_commit(PG_FUNCTION_ARGS)
{
	return end_reservation(fcinfo, "norikv.inventory_commit()", true);
}

/* reservation */
Datum
norikv_sql_inventory_release(PG_FUNCTION_ARGS)
{
	return end_reservation(fcinfo, "norikv.inventory_release()", false);
}
