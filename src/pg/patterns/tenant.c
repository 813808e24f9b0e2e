/*
 * tenant.c - tenants: a document each, at "tenant-meta:<id>", and the keys under
 * "tenant:<id>:", which the server counts and limits.
 *
 * The document is what other programs read and write; the quota is what holds. They
 * are two things, written one after the other:
 *
 * - Before a document is created the quota is that of the smallest plan, whatever the
 *   plan is, and then it becomes the plan's. So a tenant that is there is limited at
 *   any moment, also where the one who creates it dies, or two do.
 * - Whoever finds a quota that is not what the document says puts it right: each
 *   function here that looks at the tenant.
 */
#include "patterns/pattern.h"

#include <math.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "funcapi.h"
#include "utils/builtins.h"

#define META_PREFIX "tenant-meta:"
/* A megabyte as PostgreSQL's settings have it. */
#define MEGABYTE (1024.0 * 1024.0)
/* For so long a tenant that was found is taken to be there, and its quota to be right. */
#define KNOWN_US (5 * 1000 * 1000)
/* At a quota that others keep changing. */
#define MAX_LOOKS 10

PG_FUNCTION_INFO_V1(norikv_sql_tenant_create);
PG_FUNCTION_INFO_V1(norikv_sql_tenant_document);
PG_FUNCTION_INFO_V1(norikv_sql_tenant_put);
PG_FUNCTION_INFO_V1(norikv_sql_tenant_get);
PG_FUNCTION_INFO_V1(norikv_sql_tenant_delete);
PG_FUNCTION_INFO_V1(norikv_sql_tenant_usage);

/* ---- The document ---- */

typedef struct Limits
{
	double max_keys; /* infinity: none, as the next one */
	double max_storage_mb;
} Limits;

typedef struct Metadata
{
	char *id;
	char *name;
	char *plan;
	int64 created_at;
	norikv_slice limits;
} Metadata;

static const NorikvFieldRule limit_fields[] = {
	NORIKV_FIELD("maxKeys", NORIKV_TYPE_NUMBER, Limits, max_keys),
	NORIKV_FIELD("maxStorageMB", NORIKV_TYPE_NUMBER, Limits, max_storage_mb),
};
static const NorikvDocumentRule limits_rule = {"tenant with limits", limit_fields,
											   lengthof(limit_fields), sizeof(Limits)};

static const NorikvFieldRule metadata_fields[] = {
	NORIKV_FIELD("id", NORIKV_TYPE_TEXT, Metadata, id),
	NORIKV_FIELD("name", NORIKV_TYPE_TEXT, Metadata, name),
	NORIKV_FIELD("plan", NORIKV_TYPE_TEXT, Metadata, plan),
	NORIKV_FIELD("createdAt", NORIKV_TYPE_INSTANT, Metadata, created_at),
	NORIKV_FIELD("limits", NORIKV_TYPE_JSON, Metadata, limits),
};
static const NorikvDocumentRule metadata_rule = {
	"tenant", metadata_fields, lengthof(metadata_fields), sizeof(Metadata)};

typedef struct TenantPlan
{
	const char *name;
	Limits limits;
} TenantPlan;

/* The smallest first. */
static const TenantPlan plans[] = {
	{"free", {1000, 10}},
	{"pro", {100000, 1000}},
	{"enterprise", {INFINITY, INFINITY}},
};

static const TenantPlan *
plan_named(const char *name)
{
	for (int i = 0; i < lengthof(plans); i++)
	{
		if (strcmp(plans[i].name, name) == 0)
			return &plans[i];
	}
	ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("invalid value for argument \"%s\": \"%s\"", "plan", name),
			errhint("Valid values are \"free\", \"pro\" and \"enterprise\"."));
	return NULL;
}

/* ---- A tenant ---- */

typedef struct Tenant
{
	NorikvConnection *connection;
	char *id;
	norikv_slice meta_key;
	norikv_slice prefix; /* of its keys */
	bool present;
	norikv_slice document;
	norikv_version version;
	Limits limits; /* of the document */
} Tenant;

static Tenant
tenant_of_argument(FunctionCallInfo fcinfo, int argument, const char *name,
				   NorikvConnection *connection)
{
	Tenant tenant = {.connection = connection};
	const char *fault;
	StringInfoData prefix;

	NorikvRequireArgument(fcinfo, argument, name);
	tenant.id = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	fault = NorikvTenantFault(tenant.id);
	if (fault != NULL)
		NorikvRefuseId(name, PG_GETARG_DATUM(argument), fault);
	tenant.meta_key = NorikvPatternKey(META_PREFIX, PG_GETARG_DATUM(argument), name);
	initStringInfo(&prefix);
	NorikvAppendTenantPrefix(&prefix, tenant.id);
	tenant.prefix = (norikv_slice){prefix.data, prefix.len};
	return tenant;
}

static void
take_entry(Tenant *tenant, const norikv_entry *entry)
{
	char *value = palloc(entry->value.size + 1);
	NorikvDocument document = {.present = true, .key = tenant->meta_key};
	Metadata metadata;

	tenant->present = entry->version.index != 0;
	tenant->version = entry->version;
	if (!tenant->present)
		return;
	memcpy(value, entry->value.data, entry->value.size);
	value[entry->value.size] = '\0';
	tenant->document = (norikv_slice){value, entry->value.size};
	document.value = tenant->document;
	NorikvReadRecord(&metadata_rule, &document, tenant->connection, &metadata);
	/* what follows names the key as well, and not a part of the document */
	document.value = metadata.limits;
	NorikvReadRecord(&limits_rule, &document, tenant->connection, &tenant->limits);
	if (tenant->limits.max_keys < 0 || tenant->limits.max_storage_mb < 0)
		NorikvRaiseBroken(tenant->connection, tenant->meta_key, limits_rule.what,
						  "Its limits must not be negative.");
}

static void
finish_reading(Tenant *tenant, NorikvCall *call)
{
	NorikvFinish(call);
	take_entry(tenant, norikv_call_entry(call->call));
	NorikvFree(call);
}

static NorikvCall *
start_reading(const Tenant *tenant)
{
	return NorikvStartGet(tenant->connection, tenant->meta_key, "strong");
}

static void
raise_no_tenant(const Tenant *tenant)
{
	ereport(ERROR, errcode(ERRCODE_NO_DATA_FOUND),
			errmsg("tenant \"%s\" does not exist on server \"%s\"", tenant->id,
				   tenant->connection->name),
			errhint("norikv.tenant_create() makes it."));
}

/* ---- The quota ---- */

/* As a server takes it: 0 is no limit. */
static uint64
whole_limit(double limit)
{
	if (limit >= (double) PG_INT64_MAX)
		return 0;
	return (uint64) limit;
}

static norikv_quota
quota_of(const Tenant *tenant, const Limits *limits)
{
	norikv_quota quota = {
		.prefix = tenant->prefix,
		.max_keys = whole_limit(limits->max_keys),
		.max_bytes = whole_limit(limits->max_storage_mb * MEGABYTE),
	};

	/* No key at all: none is as small as that. */
	if (limits->max_keys < 1 || limits->max_storage_mb * MEGABYTE < 1)
		quota.max_bytes = 1;
	return quota;
}

static void
set_quota(const Tenant *tenant, const Limits *limits)
{
	const norikv_quota quota = quota_of(tenant, limits);
	NorikvCall *call = NorikvStartSetQuota(tenant->connection, &quota);

	NorikvFinish(call);
	NorikvFree(call);
}

/* Counts of the tenant's keys, with the limits that hold; false: it has no quota. */
static bool
finish_usage(NorikvCall *call, norikv_usage_counts *usage)
{
	const norikv_error *error = NorikvAwait(call);
	bool found = error->code == NORIKV_OK;

	if (!found && error->code != NORIKV_NOT_FOUND)
		NorikvRaise(error, &call->subject);
	if (found)
		*usage = *norikv_call_usage(call->call);
	NorikvFree(call);
	return found;
}

static bool
is_right(const Tenant *tenant, const norikv_usage_counts *usage)
{
	const norikv_quota quota = quota_of(tenant, &tenant->limits);

	return usage->max_keys == quota.max_keys && usage->max_bytes == quota.max_bytes;
}

static bool
may_write(const NorikvConnection *connection)
{
	return !XactReadOnly && !RecoveryInProgress() && !IsInParallelMode() &&
		   !connection->settings.read_only;
}

/*
 * The document and the usage, in one round trip. A quota that is missing or not the
 * document's is put right, unless nothing may be written; false: there is none then.
 */
static bool
look_at(Tenant *tenant, norikv_usage_counts *usage)
{
	for (int tries = 1;; tries++)
	{
		NorikvCall *reading = start_reading(tenant);
		NorikvCall *counting = NorikvStartUsage(tenant->connection, tenant->prefix);
		bool found;

		finish_reading(tenant, reading);
		found = finish_usage(counting, usage);
		if (!tenant->present || (found && is_right(tenant, usage)) ||
			!may_write(tenant->connection) || tries == MAX_LOOKS)
			return found;
		/* and look again: the document may be another one by now */
		set_quota(tenant, &tenant->limits);
	}
}

/* ---- Which tenants are there ---- */

static void
remember(const Tenant *tenant)
{
	NorikvConnection *connection = tenant->connection;

	if (connection->known_tenant == NULL ||
		strcmp(connection->known_tenant, tenant->id) != 0)
	{
		char *copy = MemoryContextStrdup(connection->context, tenant->id);

		if (connection->known_tenant != NULL)
			pfree(connection->known_tenant);
		connection->known_tenant = copy;
	}
	connection->known_tenant_us = NorikvBootMicroseconds();
}

static bool
is_known(const Tenant *tenant)
{
	const NorikvConnection *connection = tenant->connection;

	return connection->known_tenant != NULL &&
		   strcmp(connection->known_tenant, tenant->id) == 0 &&
		   NorikvBootMicroseconds() - connection->known_tenant_us < KNOWN_US;
}

/* P0002 where it is not. */
static void
require_tenant(Tenant *tenant)
{
	norikv_usage_counts usage;

	if (is_known(tenant))
		return;
	if (NorikvGetCapabilities(tenant->connection)->quotas)
		(void) look_at(tenant, &usage);
	else
		finish_reading(tenant, start_reading(tenant));
	if (!tenant->present)
		raise_no_tenant(tenant);
	remember(tenant);
}

/* ---- Creating ---- */

static norikv_slice
new_document(const Tenant *tenant, char *name, const TenantPlan *plan)
{
	Metadata metadata = {
		.id = tenant->id,
		.name = name,
		.plan = (char *) plan->name,
		.created_at = NorikvStoreTime(tenant->connection),
		.limits = NorikvWriteRecord(&limits_rule, &plan->limits, NULL),
	};

	return NorikvWriteRecord(&metadata_rule, &metadata, NULL);
}

static void
raise_exists(Tenant *tenant)
{
	norikv_usage_counts usage;

	(void) look_at(tenant, &usage);
	ereport(ERROR, errcode(ERRCODE_UNIQUE_VIOLATION),
			errmsg("tenant \"%s\" already exists on server \"%s\"", tenant->id,
				   tenant->connection->name),
			errhint("norikv.tenant_get() shows it."));
}

/* False: another one was faster. */
static bool
create_document(const Tenant *tenant, norikv_slice document)
{
	const norikv_operation put = {.kind = NORIKV_OP_PUT,
								  .key = tenant->meta_key,
								  .value = document,
								  .condition = NORIKV_IF_ABSENT};
	const norikv_slice no_idempotency_key = {NULL, 0};
	NorikvCall *call = NorikvStartWrite(tenant->connection, &put, no_idempotency_key);
	const norikv_error *error = NorikvAwait(call);
	bool created = error->code == NORIKV_OK;

	if (!created && !NorikvIsUnmetCondition(error))
		NorikvRaise(error, &call->subject);
	NorikvFree(call);
	return created;
}

static void
created_context(void *arg)
{
	const Tenant *tenant = arg;

	errcontext("limits of tenant \"%s\", which has been created: they are those of plan "
			   "\"%s\" until the next look at it",
			   tenant->id, plans[0].name);
}

static void
raise_limits(Tenant *tenant, const TenantPlan *plan)
{
	ErrorContextCallback callback = {error_context_stack, created_context, tenant};

	if (plan == &plans[0])
		return;
	error_context_stack = &callback;
	set_quota(tenant, &plan->limits);
	error_context_stack = callback.previous;
}

static Datum
document_datum(const Tenant *tenant, norikv_slice document)
{
	const norikv_entry entry = {.key = tenant->meta_key, .value = document};

	return NorikvJsonbFromValue(&entry, tenant->connection);
}

/* id, name, plan */
Datum
norikv_sql_tenant_create(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.tenant_create()");
	Tenant tenant = tenant_of_argument(fcinfo, 0, "id", connection);
	norikv_slice document;
	const TenantPlan *plan;
	Datum result;

	NorikvRequireArgument(fcinfo, 1, "name");
	NorikvRequireArgument(fcinfo, 2, "plan");
	plan = plan_named(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	NorikvRequireAtomicCas(connection, "tenant_create()");
	NorikvRequireQuotas(connection, "tenant_create()");
	document = new_document(&tenant, text_to_cstring(PG_GETARG_TEXT_PP(1)), plan);
	result = document_datum(&tenant, document);

	finish_reading(&tenant, start_reading(&tenant));
	if (tenant.present)
		raise_exists(&tenant);
	set_quota(&tenant, &plans[0].limits);
	if (!create_document(&tenant, document))
		raise_exists(&tenant);
	raise_limits(&tenant, plan);
	remember(&tenant);
	PG_RETURN_DATUM(result);
}

/* ---- Looking ---- */

/* id */
Datum
norikv_sql_tenant_document(PG_FUNCTION_ARGS)
{
	norikv_usage_counts usage;
	NorikvConnection *connection;
	Tenant tenant;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	connection = NorikvGetConnection();
	tenant = tenant_of_argument(fcinfo, 0, "id", connection);
	if (NorikvGetCapabilities(connection)->quotas)
		(void) look_at(&tenant, &usage);
	else
		finish_reading(&tenant, start_reading(&tenant));
	if (!tenant.present)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(document_datum(&tenant, tenant.document));
}

/* A limit of the document's as the user sees it: NULL is none. */
static Datum
limit_datum(double limit, bool *is_null)
{
	*is_null = limit >= (double) PG_INT64_MAX;
	return *is_null ? (Datum) 0 : Int64GetDatum((int64) limit);
}

/* id; keys, bytes, max_keys, max_bytes */
Datum
norikv_sql_tenant_usage(PG_FUNCTION_ARGS)
{
	norikv_usage_counts usage = {0};
	NorikvConnection *connection;
	TupleDesc descriptor;
	Tenant tenant;
	Datum values[4];
	bool nulls[4] = {false};

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	connection = NorikvGetConnection();
	NorikvRequireQuotas(connection, "tenant_usage()");
	tenant = tenant_of_argument(fcinfo, 0, "id", connection);
	nulls[0] = nulls[1] = !look_at(&tenant, &usage);
	if (!tenant.present)
		raise_no_tenant(&tenant);
	if (usage.recounting)
		ereport(NOTICE, errmsg("the keys of tenant \"%s\" are still being counted",
							   tenant.id),
				errdetail("There are more of them than is said here."));
	values[0] = Int64GetDatum((int64) usage.keys);
	values[1] = Int64GetDatum((int64) usage.bytes);
	values[2] = limit_datum(tenant.limits.max_keys, &nulls[2]);
	values[3] = limit_datum(tenant.limits.max_storage_mb * MEGABYTE, &nulls[3]);
	PG_RETURN_DATUM(
		HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}

/* ---- Its keys ---- */

/* The key as the connection has it; 22023 where that is too long. */
static norikv_slice
key_of_tenant(const Tenant *tenant, norikv_slice key)
{
	size_t limit = tenant->connection->max_key;
	size_t room = limit > tenant->prefix.size ? limit - tenant->prefix.size : 0;
	char *whole = palloc(tenant->prefix.size + key.size);

	if (key.size > room)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must be 1 to %zu bytes, but it is %zu", "key",
					   room, key.size),
				errdetail("A key may have %d bytes, of which %zu are the prefix of the "
						  "tenant.",
						  NORIKV_MAX_KEY, NORIKV_MAX_KEY - room));
	memcpy(whole, tenant->prefix.data, tenant->prefix.size);
	memcpy(whole + tenant->prefix.size, key.data, key.size);
	return (norikv_slice){whole, tenant->prefix.size + key.size};
}

/* Two tenants may both use one: the server knows it by itself alone. */
static norikv_slice
idempotency_key_of_tenant(FunctionCallInfo fcinfo, int argument, const Tenant *tenant)
{
	norikv_slice key = NorikvIdempotencyKeyArgument(fcinfo, argument);
	StringInfoData scoped;

	if (key.size == 0)
		return key;
	initStringInfo(&scoped);
	appendBinaryStringInfo(&scoped, tenant->prefix.data, tenant->prefix.size);
	appendBinaryStringInfo(&scoped, key.data, key.size);
	return (norikv_slice){scoped.data, scoped.len};
}

/* tenant, then as put() */
Datum
norikv_sql_tenant_put(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.tenant_put()");
	Tenant tenant = tenant_of_argument(fcinfo, 0, "tenant", connection);
	norikv_operation operation = NorikvPutArguments(fcinfo, 1);
	norikv_slice idempotency_key = idempotency_key_of_tenant(fcinfo, 6, &tenant);
	NorikvCall *call;

	operation.key = key_of_tenant(&tenant, operation.key);
	require_tenant(&tenant);
	call = NorikvStartWrite(connection, &operation, idempotency_key);
	NorikvFinish(call);
	return NorikvFinishPut(call);
}

/* tenant, then as delete() */
Datum
norikv_sql_tenant_delete(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.tenant_delete()");
	Tenant tenant = tenant_of_argument(fcinfo, 0, "tenant", connection);
	norikv_operation operation = NorikvDeleteArguments(fcinfo, 1);
	norikv_slice idempotency_key = idempotency_key_of_tenant(fcinfo, 3, &tenant);

	operation.key = key_of_tenant(&tenant, operation.key);
	require_tenant(&tenant);
	return NorikvFinishDelete(NorikvStartWrite(connection, &operation, idempotency_key));
}

/* tenant, key, consistency */
Datum
norikv_sql_tenant_get(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection;
	const char *consistency;
	norikv_entry entry;
	NorikvCall *call;
	Tenant tenant;
	Datum value = (Datum) 0;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	connection = NorikvGetConnection();
	tenant = tenant_of_argument(fcinfo, 0, "tenant", connection);
	consistency = NorikvConsistencyArgument(fcinfo, 2);
	entry.key = key_of_tenant(&tenant, NorikvKeyArgument(fcinfo, 1));
	require_tenant(&tenant);
	call = NorikvStartGet(connection, entry.key, consistency);
	NorikvFinish(call);
	entry = *norikv_call_entry(call->call);
	fcinfo->isnull = entry.version.index == 0;
	if (!fcinfo->isnull)
		value = NorikvTextFromValue(&entry, connection);
	NorikvFree(call);
	return value;
}
