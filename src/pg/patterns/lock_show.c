/*
 * lock_show.c - who holds locks: lock_holder() in the store, locks_held here.
 */
#include "patterns/lock.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "patterns/pattern.h"

PG_FUNCTION_INFO_V1(norikv_sql_lock_holder);
PG_FUNCTION_INFO_V1(norikv_sql_locks_held);

/* ---- lock_holder ---- */

typedef struct LockDocument
{
	char *owner;
	int64 acquired_at;
	int64 token;
} LockDocument;

static const NorikvFieldRule lock_fields[] = {
	NORIKV_FIELD("owner", NORIKV_TYPE_TEXT, LockDocument, owner),
	NORIKV_OPTIONAL("acquiredAt", NORIKV_TYPE_INSTANT, LockDocument, acquired_at, 0),
	NORIKV_OPTIONAL("token", NORIKV_TYPE_TOKEN, LockDocument, token, 0),
};

static const NorikvDocumentRule lock_rule = {"lock", lock_fields, lengthof(lock_fields),
											 sizeof(LockDocument)};

/* Until the first renewal the token is that of the key's own version. */
static Datum
token_of(const LockDocument *document, norikv_version version)
{
	return Int64GetDatum(document->token != 0
							 ? document->token
							 : (int64) ((version.term << 48) + version.index));
}

Datum
norikv_sql_lock_holder(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection;
	NorikvDocument document = {.present = true};
	const norikv_entry *entry;
	LockDocument lock;
	TupleDesc descriptor;
	NorikvCall *call;
	Datum values[4];
	bool nulls[4] = {false};
	Datum result;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	connection = NorikvGetConnection();
	document.key = NorikvPatternKey(NORIKV_LOCK_PREFIX, PG_GETARG_DATUM(0), "name");
	call = NorikvStartMultiGet(connection, &document.key, 1, "strong");
	entry = NorikvFinishMultiGet(call, 1);
	if (entry->version.index == 0)
	{
		NorikvFree(call);
		PG_RETURN_NULL();
	}
	document.value = entry->value;
	NorikvReadRecord(&lock_rule, &document, connection, &lock);
	values[0] = CStringGetTextDatum(lock.owner);
	values[1] = token_of(&lock, entry->version);
	nulls[2] = lock.acquired_at == 0;
	if (!nulls[2])
		values[2] = NorikvTimestampFromInstant(lock.acquired_at);
	values[3] = NorikvTimestampFromMilliseconds(entry->expires_at_ms, &nulls[3]);
	NorikvFree(call);
	result = HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values,
											   nulls));
	PG_RETURN_DATUM(result);
}

/* ---- locks_held ---- */

static const char *const kind_names[] = {
	[NORIKV_LEASE_LOCK] = "lock",
	[NORIKV_LEASE_CAMPAIGN] = "campaign",
	[NORIKV_LEASE_JOB] = "job",
};

static bool
may_see(const NorikvLease *lease)
{
	return has_privs_of_role(GetUserId(), lease->role) ||
		   has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);
}

/*
 * As unlock() takes it, where this database's encoding has all of it; it may be the lease
 * of another database, and nobody should be kept from seeing the others by that.
 */
static char *
name_in_encoding(norikv_slice utf8)
{
	int encoding = GetDatabaseEncoding();
	char *name = pnstrdup(utf8.data, utf8.size);
	int room = utf8.size * MAX_CONVERSION_GROWTH + 1;
	char *converted = palloc(room);
	Oid conversion;

	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
		return name;
	conversion = FindDefaultConversionProc(PG_UTF8, encoding);
	if (OidIsValid(conversion) &&
		pg_do_encoding_conversion_buf(conversion, PG_UTF8, encoding,
									  (unsigned char *) name, utf8.size,
									  (unsigned char *) converted, room,
									  true) == utf8.size)
		return converted;
	return NorikvTextForMessage(name);
}

/* The key without the prefix that says what it is. */
static Datum
name_of(const NorikvLease *lease)
{
	norikv_slice key = {lease->puts[0].key, lease->puts[0].key_size};
	const char *colon = memchr(key.data, ':', key.size);

	if (colon != NULL)
	{
		key.size -= colon + 1 - (const char *) key.data;
		key.data = colon + 1;
	}
	return CStringGetTextDatum(name_in_encoding(key));
}

/* NULL where the role or the database is gone. */
static void
put_name(Datum *value, bool *is_null, char *name)
{
	*is_null = name == NULL;
	if (name != NULL)
		*value = CStringGetTextDatum(name);
}

static void
put_lease(ReturnSetInfo *result, const NorikvLease *lease)
{
	int64 left_ms = lease->deadline - NorikvBootMilliseconds();
	Datum values[9];
	bool nulls[9] = {false};

	if (!may_see(lease))
		return;
	values[0] = CStringGetTextDatum(kind_names[lease->kind]);
	values[1] = name_of(lease);
	values[2] = Int64GetDatum(lease->token);
	values[3] = CStringGetTextDatum(lease->server);
	nulls[4] = lease->owner_pid == 0;
	values[4] = Int32GetDatum(lease->owner_pid);
	put_name(&values[5], &nulls[5],
			 OidIsValid(lease->database) ? get_database_name(lease->database) : NULL);
	put_name(&values[6], &nulls[6], GetUserNameFromId(lease->role, true));
	values[7] = TimestampTzGetDatum(lease->acquired_at);
	values[8] = TimestampTzGetDatum(
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), left_ms));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static bool
is_held(const NorikvLease *lease)
{
	return lease->state == NORIKV_LEASE_HELD && NorikvBootMilliseconds() < lease->deadline;
}

/* Without shared memory: this session's. */
Datum
norikv_sql_locks_held(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	NorikvLease *copy = palloc(sizeof(NorikvLease));
	dlist_iter iter;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < NorikvLeaseSlots(); i++)
	{
		if (NorikvLeaseLook(i, copy) && is_held(copy))
			put_lease(result, copy);
	}
	if (NorikvLeasesAreShared())
		return (Datum) 0;
	dlist_foreach(iter, NorikvHeldLocks())
	{
		NorikvHeldLock *lock = dlist_container(NorikvHeldLock, node, iter.cur);

		if (is_held(lock->lease))
			put_lease(result, lock->lease);
	}
	return (Datum) 0;
}
