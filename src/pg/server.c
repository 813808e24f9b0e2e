/*
 * server.c - functions about servers and this session's connections to them.
 */
#include "pg_norikv.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(norikv_sql_ping);
PG_FUNCTION_INFO_V1(norikv_sql_server_info);
PG_FUNCTION_INFO_V1(norikv_sql_cluster_view);
PG_FUNCTION_INFO_V1(norikv_sql_connections);
PG_FUNCTION_INFO_V1(norikv_sql_disconnect);

static NorikvConnection *
connection_of_argument(FunctionCallInfo fcinfo)
{
	return NorikvGetNamedConnection(PG_ARGISNULL(0) ? NULL
													: NameStr(*PG_GETARG_NAME(0)));
}

static Datum
interval_of_microseconds(int64 microseconds)
{
	Interval *interval = palloc0(sizeof(Interval));

	interval->time = microseconds;
	return IntervalPGetDatum(interval);
}

/* A server without the health service has answered as well. */
Datum
norikv_sql_ping(PG_FUNCTION_ARGS)
{
	NorikvCall *call = NorikvStartHealth(connection_of_argument(fcinfo));
	const norikv_error *error = NorikvAwait(call);
	instr_time elapsed;

	INSTR_TIME_SET_CURRENT(elapsed);
	INSTR_TIME_SUBTRACT(elapsed, call->start);
	if (error->code != NORIKV_OK && error->code != NORIKV_UNIMPLEMENTED)
		NorikvRaise(error, &call->subject);
	NorikvFree(call);
	return interval_of_microseconds(INSTR_TIME_GET_MICROSEC(elapsed));
}

/* ---- server_info ---- */

static void
put_text(Datum *value, bool *is_null, const char *utf8)
{
	*is_null = utf8 == NULL || utf8[0] == '\0';
	if (!*is_null)
		*value = CStringGetTextDatum(NorikvTextForMessage(utf8));
}

/* Limits that the server does not set are null. */
static Datum
limits_of(const norikv_info *info)
{
	const struct
	{
		const char *name;
		uint64 value;
	} limits[] = {
		{"key_bytes", info->key_bytes},
		{"value_bytes", info->value_bytes},
		{"message_bytes", info->message_bytes},
		{"commit_operations", info->commit_operations},
		{"commit_conditions", info->commit_conditions},
		{"commit_bytes", info->commit_bytes},
		{"multi_get_keys", info->multi_get_keys},
	};
	StringInfoData json;

	initStringInfo(&json);
	for (int i = 0; i < lengthof(limits); i++)
	{
		appendStringInfo(&json, "%s\"%s\": ", i == 0 ? "{" : ", ", limits[i].name);
		if (limits[i].value == 0)
			appendStringInfoString(&json, "null");
		else
			appendStringInfo(&json, UINT64_FORMAT, limits[i].value);
	}
	appendStringInfoChar(&json, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}

static HeapTuple
form_info(TupleDesc descriptor, const norikv_info *info, const char *nodes)
{
	Datum values[18];
	bool nulls[18] = {false};
	const bool capabilities[] = {
		info->atomic_cas, info->create,		  info->conditional_delete, info->ttl,
		info->scan,		  info->batch,		  info->transactions,		info->add,
		info->watch,	  info->quotas,		  info->vectors};
	int n = 0;

	put_text(&values[n], &nulls[n], info->name), n++;
	put_text(&values[n], &nulls[n], info->version), n++;
	put_text(&values[n], &nulls[n], info->engine), n++;
	put_text(&values[n], &nulls[n], info->store_id), n++;
	values[n++] = CStringGetTextDatum(nodes);
	values[n++] = limits_of(info);
	nulls[n] = info->expiry_granularity_ms == 0;
	values[n++] = interval_of_microseconds(info->expiry_granularity_ms * 1000);
	for (int i = 0; i < lengthof(capabilities); i++)
		values[n++] = BoolGetDatum(capabilities[i]);
	Assert(n == lengthof(values) && n == descriptor->natts);
	return heap_form_tuple(descriptor, values, nulls);
}

Datum
norikv_sql_server_info(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = connection_of_argument(fcinfo);
	TupleDesc descriptor;
	NorikvCall *call;
	HeapTuple tuple;

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	call = NorikvStartInfo(connection);
	NorikvFinish(call);
	tuple = form_info(BlessTupleDesc(descriptor), norikv_call_info(call->call),
					  connection->settings.nodes);
	NorikvFree(call);
	PG_RETURN_DATUM(HeapTupleGetDatum(tuple));
}

/* ---- cluster_view ---- */

static Datum
bigint_of(uint64 number, const char *what)
{
	if (number > PG_INT64_MAX)
		ereport(ERROR, errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				errmsg("%s " UINT64_FORMAT " out of range for bigint", what, number));
	return Int64GetDatum((int64) number);
}

Datum
norikv_sql_cluster_view(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = connection_of_argument(fcinfo);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const norikv_cluster_view *view;
	NorikvCall *call;

	InitMaterializedSRF(fcinfo, 0);
	call = NorikvStartWatchCluster(connection);
	NorikvFinish(call);
	view = norikv_call_view(call->call);
	for (size_t i = 0; view != NULL && i < view->n_replicas; i++)
	{
		const norikv_replica *replica = &view->replicas[i];
		Datum values[5];
		bool nulls[5] = {false};

		values[0] = bigint_of(view->epoch, "epoch");
		values[1] = Int64GetDatum(replica->shard);
		put_text(&values[2], &nulls[2], replica->node);
		put_text(&values[3], &nulls[3], replica->addr);
		values[4] = BoolGetDatum(replica->leader);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	NorikvFree(call);
	return (Datum) 0;
}

/* ---- Connections ---- */

/* As in postgres_fdw: NULL for a server that has been dropped. */
Datum
norikv_sql_connections(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	dlist_iter iter;

	InitMaterializedSRF(fcinfo, 0);
	dlist_foreach(iter, NorikvConnections())
	{
		NorikvConnection *connection = dlist_container(NorikvConnection, node, iter.cur);
		const char *name = connection->name;
		Datum values[2];
		bool nulls[2] = {false, false};

		if (OidIsValid(connection->serverid))
		{
			ForeignServer *server =
				GetForeignServerExtended(connection->serverid, FSV_MISSING_OK);

			name = server ? server->servername : NULL;
		}
		nulls[0] = name == NULL;
		if (name != NULL)
			values[0] = CStringGetTextDatum(name);
		values[1] = BoolGetDatum(!connection->invalidated);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

Datum
norikv_sql_disconnect(PG_FUNCTION_ARGS)
{
	const char *name;
	Oid serverid;

	if (PG_ARGISNULL(0))
		PG_RETURN_BOOL(NorikvCloseConnections(true, InvalidOid));
	name = NameStr(*PG_GETARG_NAME(0));
	serverid = get_foreign_server_oid(name, strcmp(name, NORIKV_DEFAULT_SERVER) == 0);
	PG_RETURN_BOOL(NorikvCloseConnections(false, serverid));
}
