/*
 * inventory_item.c - an item of the inventory, with the holds on it.
 *
 * The document is that of other programs, {sku, quantity, reserved, lastUpdated}, and
 * holds {<reservation>: {quantity, expiresAt}}, which they leave as it is. A
 * reservation of ours is a record of its own and a hold here, written in one Commit:
 * neither is without the other, unless another program came by, which knows records
 * only. One that commits or releases a reservation of ours takes it off reserved first,
 * and deletes the record then. So, of a hold that has run out:
 * - without a record it was consumed by such a program: it goes, and nothing else;
 * - with one it is taken back, but reserved does not fall below what the other holds
 *   come to: that program may have died between its two writes, and what it has taken
 *   off would be taken off twice, and then sold twice. What is restored so is noted, for
 *   it may as well be alive: once its record is gone, it is taken off again.
 */
#include "patterns/inventory_item.h"

#include "common/int.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"

static const NorikvFieldRule item_fields[] = {
	NORIKV_FIELD("sku", NORIKV_TYPE_TEXT, NorikvItem, sku),
	NORIKV_FIELD("quantity", NORIKV_TYPE_INTEGER, NorikvItem, quantity),
	NORIKV_FIELD("reserved", NORIKV_TYPE_INTEGER, NorikvItem, reserved),
	NORIKV_FIELD("lastUpdated", NORIKV_TYPE_INSTANT, NorikvItem, last_updated),
	NORIKV_OPTIONAL("holds", NORIKV_TYPE_JSON, NorikvItem, holds_json, 0),
	NORIKV_OPTIONAL("restored", NORIKV_TYPE_INTEGER, NorikvItem, restored, 0),
};
static const NorikvDocumentRule item_rule = {"item of an inventory", item_fields,
											 lengthof(item_fields), sizeof(NorikvItem)};

/* ---- Holds ---- */

void
NorikvAddHold(NorikvItem *item, const char *reservation, int64 quantity, int64 expires_at)
{
	NorikvHold *hold;

	/* Doubled at the powers of two. */
	if (item->n_holds == 0)
		item->holds = palloc(sizeof(NorikvHold));
	else if ((item->n_holds & (item->n_holds - 1)) == 0)
		item->holds = repalloc(item->holds, item->n_holds * 2 * sizeof(NorikvHold));
	hold = &item->holds[item->n_holds++];
	hold->reservation = pstrdup(reservation);
	hold->quantity = quantity;
	hold->expires_at = expires_at;
	hold->record = NorikvMakeKey(NORIKV_RESERVATION_PREFIX, reservation);
}

int
NorikvFindHold(const NorikvItem *item, const char *reservation)
{
	for (int i = 0; i < item->n_holds; i++)
	{
		if (strcmp(item->holds[i].reservation, reservation) == 0)
			return i;
	}
	return -1;
}

void
NorikvDropHold(NorikvItem *item, int at)
{
	item->n_holds--;
	memmove(&item->holds[at], &item->holds[at + 1],
			(item->n_holds - at) * sizeof(NorikvHold));
}

static int64
sum_of_holds(const NorikvItem *item)
{
	int64 sum = 0;

	for (int i = 0; i < item->n_holds; i++)
	{
		if (pg_add_s64_overflow(sum, item->holds[i].quantity, &sum))
			return PG_INT64_MAX;
	}
	return sum;
}

/* ---- Reading ---- */

/* One member of a hold, a whole number of JavaScript's. */
static bool
read_number(JsonbContainer *hold, const char *name, int64 *number)
{
	JsonbValue value;
	double read;

	if (getKeyJsonValueFromContainer(hold, name, strlen(name), &value) == NULL ||
		value.type != jbvNumeric)
		return false;
	/* what is too large for a double is infinite then, and refused below */
	read = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
											  NumericGetDatum(value.val.numeric)));
	if (!(read >= 0 && read <= NORIKV_MAX_SAFE_INTEGER))
		return false;
	*number = (int64) read;
	return true;
}

static bool
read_hold(NorikvItem *item, const JsonbValue *name, const JsonbValue *value)
{
	char *reservation = pnstrdup(name->val.string.val, name->val.string.len);
	int64 quantity;
	int64 expires_at;

	if (!NorikvIsUuid(reservation) || value->type != jbvBinary ||
		!JsonContainerIsObject(value->val.binary.data) ||
		!read_number(value->val.binary.data, "quantity", &quantity) ||
		!read_number(value->val.binary.data, "expiresAt", &expires_at))
		return false;
	NorikvAddHold(item, reservation, quantity, expires_at);
	return true;
}

static bool
read_holds(NorikvItem *item)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue value;
	JsonbValue name = {.type = jbvNull};
	Jsonb *holds;

	if (item->holds_json.data == NULL)
		return true;
	holds = DatumGetJsonbP(DirectFunctionCall1(
		jsonb_in,
		CStringGetDatum(pnstrdup(item->holds_json.data, item->holds_json.size))));
	if (!JB_ROOT_IS_OBJECT(holds))
		return false;
	iterator = JsonbIteratorInit(&holds->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = value;
		else if (token == WJB_VALUE && !read_hold(item, &name, &value))
			return false;
	}
	return true;
}

static void
raise_no_item(norikv_slice key, const NorikvConnection *connection)
{
	ereport(ERROR, errcode(ERRCODE_NO_DATA_FOUND),
			errmsg("there is no item %s on server \"%s\"", NorikvShowKey(key),
				   connection->name),
			errhint("inventory_create() makes one."));
}

void
NorikvReadItem(const NorikvDocument *document, const NorikvConnection *connection,
			   NorikvItem *item)
{
	NorikvDecoding decoding = {.connection = connection, .key = document->key};
	bool holds_read;

	if (!document->present)
		raise_no_item(document->key, connection);
	NorikvReadRecord(&item_rule, document, connection, item);
	NorikvBeginDecoding(&decoding);
	holds_read = read_holds(item);
	NorikvEndDecoding(&decoding);
	if (item->restored < 0)
		NorikvRaiseBroken(connection, document->key, item_rule.what,
						  "Its field \"restored\" must not be negative.");
	if (!holds_read)
		NorikvRaiseBroken(connection, document->key, item_rule.what,
						  "Its field \"holds\" must have reservations with {quantity, "
						  "expiresAt}.");
}

/* ---- Settling ---- */

/*
 * Of all holds, or of those that have run out: drops the ones without a record. False:
 * records must be read first, which it has asked for.
 */
static bool
drop_consumed(NorikvAttempt *attempt, NorikvItem *item, int64 run_out_at)
{
	bool complete = true;

	for (int i = item->n_holds - 1; i >= 0; i--)
	{
		const NorikvHold *hold = &item->holds[i];
		const NorikvDocument *record;

		if (hold->expires_at > run_out_at)
			continue;
		record = NorikvFindDocument(attempt, hold->record);
		if (record == NULL)
		{
			NorikvReadAlso(attempt, hold->record);
			complete = false;
		}
		else if (!record->present)
			NorikvDropHold(item, i);
	}
	return complete;
}

/* Those that have run out and have a record; how many. */
static int
take_back(NorikvAttempt *attempt, NorikvItem *item, int64 now, bool writes)
{
	int taken = 0;

	for (int i = item->n_holds - 1; i >= 0; i--)
	{
		const NorikvHold *hold = &item->holds[i];

		if (hold->expires_at > now)
			continue;
		item->reserved -= hold->quantity;
		item->restored -= Min(item->restored, hold->quantity);
		if (writes)
			NorikvDeleteDocument(attempt, NorikvFindDocument(attempt, hold->record));
		NorikvDropHold(item, i);
		taken++;
	}
	return taken;
}

bool
NorikvSettleItem(NorikvAttempt *attempt, NorikvItem *item, int64 now, bool writes)
{
	int taken;
	int64 held;

	if (!drop_consumed(attempt, item, now))
		return false;
	taken = take_back(attempt, item, now, writes);
	held = sum_of_holds(item);
	if (item->restored > 0 || (taken > 0 && item->reserved < held))
	{
		int64 off;

		if (!drop_consumed(attempt, item, PG_INT64_MAX))
			return false;
		held = sum_of_holds(item);
		off = Min(item->restored, Max(item->reserved - held, 0));
		item->reserved -= off;
		item->restored -= off;
		if (taken > 0 && item->reserved < held)
		{
			item->restored += held - item->reserved;
			item->reserved = held;
		}
	}
	item->reserved = Max(item->reserved, 0);
	if (item->n_holds == 0)
		item->restored = 0;
	return true;
}

/* ---- Writing ---- */

static norikv_slice
write_holds(const NorikvItem *item)
{
	StringInfoData json;

	if (item->n_holds == 0)
		return (norikv_slice){NULL, 0};
	initStringInfo(&json);
	for (int i = 0; i < item->n_holds; i++)
	{
		const NorikvHold *hold = &item->holds[i];

		appendStringInfoChar(&json, i == 0 ? '{' : ',');
		escape_json(&json, hold->reservation);
		appendStringInfo(&json,
						 ":{\"quantity\":" INT64_FORMAT ",\"expiresAt\":" INT64_FORMAT "}",
						 hold->quantity, hold->expires_at);
	}
	appendStringInfoChar(&json, '}');
	return (norikv_slice){json.data, json.len};
}

void
NorikvPutItem(NorikvAttempt *attempt, NorikvDocument *document, NorikvItem *item)
{
	item->last_updated = NorikvStoreTime(attempt->connection);
	item->holds_json = write_holds(item);
	NorikvPutDocument(attempt, document, NorikvWriteRecord(&item_rule, item, document),
					  NORIKV_TTL_NONE, 0);
}

norikv_slice
NorikvNewItem(const NorikvItem *item)
{
	return NorikvWriteRecord(&item_rule, item, NULL);
}
