/*
 * search.c - the vectors nearest to one.
 */
#include "vector/vector.h"

#include "funcapi.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(norikv_sql_vector_search);

int
NorikvNeighboursArgument(FunctionCallInfo fcinfo, int argument)
{
	int k = PG_GETARG_INT32(argument);

	if (k < 1)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must be at least 1, but it is %d", "k", k));
	return k;
}

/* The matches are the call's. */
static NorikvCall *
search(NorikvConnection *connection, norikv_slice space, NorikvVector query, int k,
	   bool include_vectors, const norikv_vector **matches, size_t *n_matches)
{
	norikv_search_request request = {
		.space = space,
		.query = query.values,
		.dimensions = query.dimensions,
		.k = k,
		.include_vectors = include_vectors && !NorikvLeaveOutVectors(k, query.dimensions),
		.ef = norikv_ef_search,
	};
	NorikvCall *call = NorikvStartVectorSearch(connection, &request);

	NorikvFinishVectors(call, space);
	*matches = norikv_call_vectors(call->call, n_matches);
	return call;
}

static void
put_matches(ReturnSetInfo *result, NorikvConnection *connection, NorikvMatchReader *reader,
			const norikv_vector *matches, size_t n_matches)
{
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext, "norikv row",
													  ALLOCSET_DEFAULT_SIZES);

	for (size_t i = 0; i < n_matches; i++)
	{
		const norikv_vector *read =
			reader == NULL ? NULL : NorikvVectorOfMatch(reader, matches, n_matches, i);
		MemoryContext old_context = MemoryContextSwitchTo(row_context);
		bool nulls[3] = {false, false, read == NULL || read->vector == NULL};
		Datum values[3];

		values[0] = NorikvTextFromId(matches[i].id, connection);
		values[1] = Float4GetDatum(matches[i].distance);
		if (!nulls[2])
			values[2] =
				NorikvVectorGetDatum((NorikvVector){read->dimensions, read->vector});
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(row_context);
	}
	MemoryContextDelete(row_context);
}

/* namespace, query, k, include_vectors */
Datum
norikv_sql_vector_search(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	NorikvMatchReader reader = {0};
	const norikv_vector *matches;
	NorikvVector query;
	size_t n_matches;
	NorikvCall *call;
	bool include_vectors;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	for (int i = 0; i < 4; i++)
	{
		if (PG_ARGISNULL(i))
			return (Datum) 0;
	}
	reader.connection = NorikvGetConnection();
	reader.space = NorikvNamespaceArgument(fcinfo);
	query = NorikvVectorFromArray(PG_GETARG_ARRAYTYPE_P(1), "argument \"query\"");
	reader.dimensions = query.dimensions;
	include_vectors = PG_GETARG_BOOL(3);
	call = search(reader.connection, reader.space, query,
				  NorikvNeighboursArgument(fcinfo, 2), include_vectors, &matches,
				  &n_matches);
	put_matches(result, reader.connection, include_vectors ? &reader : NULL, matches,
				n_matches);
	NorikvEndBatch(&reader);
	NorikvFree(call);
	return (Datum) 0;
}
