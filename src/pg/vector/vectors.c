/*
 * vectors.c - single vectors: inserted, read, deleted.
 */
#include "vector/vector.h"

PG_FUNCTION_INFO_V1(norikv_sql_vector_insert);
PG_FUNCTION_INFO_V1(norikv_sql_vector_get);
PG_FUNCTION_INFO_V1(norikv_sql_vector_delete);

static norikv_slice
id_argument(FunctionCallInfo fcinfo)
{
	NorikvRequireArgument(fcinfo, 1, "id");
	return NorikvVectorIdFromDatum(PG_GETARG_DATUM(1), "id");
}

/* namespace, id, vector */
Datum
norikv_sql_vector_insert(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.vector_insert()");
	norikv_slice space = NorikvNamespaceArgument(fcinfo);
	norikv_slice id = id_argument(fcinfo);
	NorikvVector vector;
	NorikvCall *call;
	size_t n_results;
	Datum version;

	NorikvRequireArgument(fcinfo, 2, "vector");
	vector = NorikvVectorFromArray(PG_GETARG_ARRAYTYPE_P(2), "argument \"vector\"");
	call = NorikvStartVectorInsert(connection, space, id, vector.values,
								   vector.dimensions);
	NorikvFinishVectors(call, space);
	version = NorikvVersionGetDatum(norikv_call_results(call->call, &n_results)->version);
	NorikvFree(call);
	return version;
}

/* namespace, id */
Datum
norikv_sql_vector_get(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection;
	const norikv_vector *vector;
	norikv_slice space;
	NorikvCall *call;
	size_t n_vectors;
	Datum result = (Datum) 0;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	connection = NorikvGetConnection();
	space = NorikvNamespaceArgument(fcinfo);
	call = NorikvStartVectorGet(connection, space, id_argument(fcinfo));
	NorikvFinishVectors(call, space);
	vector = norikv_call_vectors(call->call, &n_vectors);
	fcinfo->isnull = n_vectors != 1 || !vector->found;
	if (!fcinfo->isnull)
		result =
			NorikvVectorGetDatum((NorikvVector){vector->dimensions, vector->vector});
	NorikvFree(call);
	return result;
}

/* namespace, id */
Datum
norikv_sql_vector_delete(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.vector_delete()");
	norikv_slice space = NorikvNamespaceArgument(fcinfo);
	NorikvCall *call = NorikvStartVectorDelete(connection, space, id_argument(fcinfo));
	size_t n_results;
	bool existed;

	NorikvFinishVectors(call, space);
	existed = norikv_call_results(call->call, &n_results)->existed;
	NorikvFree(call);
	PG_RETURN_BOOL(existed);
}
