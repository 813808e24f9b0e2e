/*
 * index.c - indexes of vectors: created, dropped, listed; and what an error says that
 * has to do with them.
 */
#include "vector/vector.h"

#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/guc.h"

PG_FUNCTION_INFO_V1(norikv_sql_vector_create_index);
PG_FUNCTION_INFO_V1(norikv_sql_vector_drop_index);
PG_FUNCTION_INFO_V1(norikv_sql_vector_indexes);

#define MAX_EF 100000

int norikv_ef_search = 0;

/* In the order of norikv_distance and of norikv_index_type, which begin with 1. */
static const char *const distances[] = {"euclidean", "cosine", "inner_product"};
static const char *const index_types[] = {"brute_force", "hnsw"};

void
NorikvVectorInit(void)
{
	/*
	 * How many candidates a search of an approximate index keeps in view: more find
	 * more of the true neighbours, and take longer. 0 leaves it to the server.
	 */
	DefineCustomIntVariable(
		"norikv.ef_search", "How many candidates a search of vectors keeps in view.",
		"More find more of the nearest, and take longer. 0: as many as the server likes.",
		&norikv_ef_search, 0, 0, MAX_EF, PGC_USERSET, 0, NULL, NULL, NULL);
}

/* ---- Arguments ---- */

static norikv_slice
bounded_text(Datum datum, const char *argument, int limit)
{
	norikv_slice bytes = NorikvBytesFromDatum(datum, true);

	if (bytes.size < 1 || bytes.size > limit)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must be 1 to %d bytes, but it is %zu", argument,
					   limit, bytes.size));
	return bytes;
}

norikv_slice
NorikvNamespaceArgument(FunctionCallInfo fcinfo)
{
	NorikvRequireArgument(fcinfo, 0, "namespace");
	return bounded_text(PG_GETARG_DATUM(0), "namespace", NORIKV_MAX_NAMESPACE);
}

norikv_slice
NorikvVectorIdFromDatum(Datum datum, const char *argument)
{
	return bounded_text(datum, argument, NORIKV_MAX_VECTOR_ID);
}

/* One of the names, as its number. */
static int
choice_argument(FunctionCallInfo fcinfo, int argument, const char *name,
				const char *const *choices, int n_choices)
{
	StringInfoData names;
	char *given;

	NorikvRequireArgument(fcinfo, argument, name);
	given = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	initStringInfo(&names);
	for (int i = 0; i < n_choices; i++)
	{
		if (pg_strcasecmp(given, choices[i]) == 0)
			return i + 1;
		appendStringInfo(&names, "%s\"%s\"", i > 0 ? ", " : "", choices[i]);
	}
	ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("invalid value for argument \"%s\": \"%s\"", name, given),
			errhint("Valid values are %s.", names.data));
	return 0;
}

/* ---- Errors ---- */

void
NorikvRaiseVectors(const norikv_error *error, const NorikvCall *call, norikv_slice space)
{
	const char *server = call->subject.connection->name;

	if (error->outcome_unknown)
		NorikvRaise(error, &call->subject);
	if (error->code == NORIKV_NOT_FOUND)
		ereport(ERROR, errcode(ERRCODE_NO_DATA_FOUND),
				errmsg("vector index %s does not exist on server \"%s\"",
					   NorikvShowKey(space), server),
				errhint("norikv.vector_create_index() creates it."));
	if (error->code == NORIKV_UNIMPLEMENTED)
		ereport(ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("server \"%s\" does not support vectors", server),
				errdetail("%s", NorikvTextForMessage(error->text)));
	if (error->code == NORIKV_ALREADY_EXISTS &&
		call->subject.operation == NORIKV_CALL_VECTOR_INDEX)
		ereport(ERROR, errcode(ERRCODE_DUPLICATE_OBJECT),
				errmsg("vector index %s already exists on server \"%s\", with other "
					   "parameters", NorikvShowKey(space), server),
				errdetail("%s", NorikvTextForMessage(error->text)),
				errhint("norikv.vector_indexes() shows them."));
	NorikvRaise(error, &call->subject);
}

void
NorikvFinishVectors(NorikvCall *call, norikv_slice space)
{
	const norikv_error *error = NorikvAwait(call);

	if (error->code != NORIKV_OK)
		NorikvRaiseVectors(error, call, space);
}

/* ---- SQL ---- */

static bool
finish_existed(NorikvCall *call, norikv_slice space)
{
	size_t n_results;
	bool existed;

	NorikvFinishVectors(call, space);
	existed = norikv_call_results(call->call, &n_results)->existed;
	NorikvFree(call);
	return existed;
}

/* namespace, dimensions, distance, index_type */
Datum
norikv_sql_vector_create_index(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection =
		NorikvGetWriteConnection("norikv.vector_create_index()");
	norikv_slice space = NorikvNamespaceArgument(fcinfo);
	int dimensions;
	int distance;
	int type;

	NorikvRequireArgument(fcinfo, 1, "dimensions");
	dimensions = PG_GETARG_INT32(1);
	if (dimensions < 1 || dimensions > NORIKV_MAX_DIMENSIONS)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must be 1 to %d, but it is %d", "dimensions",
					   NORIKV_MAX_DIMENSIONS, dimensions));
	distance = choice_argument(fcinfo, 2, "distance", distances, lengthof(distances));
	type = choice_argument(fcinfo, 3, "index_type", index_types, lengthof(index_types));
	PG_RETURN_BOOL(!finish_existed(
		NorikvStartCreateIndex(connection, space, dimensions, distance, type), space));
}

/* What the patterns remember of it goes first: without it they make it again. */
Datum
norikv_sql_vector_drop_index(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection =
		NorikvGetWriteConnection("norikv.vector_drop_index()");
	norikv_slice space = NorikvNamespaceArgument(fcinfo);

	NorikvForgetIndexMaker(connection, space);
	PG_RETURN_BOOL(finish_existed(NorikvStartDropIndex(connection, space), space));
}

static const char *
name_of(int number, const char *const *names, int n_names)
{
	return number >= 1 && number <= n_names ? names[number - 1] : "unknown";
}

/* namespace, dimensions, distance, index_type, vectors */
Datum
norikv_sql_vector_indexes(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const norikv_slice all = {NULL, 0};
	NorikvConnection *connection = NorikvGetConnection();
	const norikv_vector_index *indexes;
	NorikvCall *call;
	size_t n_indexes;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	call = NorikvStartListIndexes(connection, all);
	NorikvFinishVectors(call, all);
	indexes = norikv_call_indexes(call->call, &n_indexes);
	for (size_t i = 0; i < n_indexes; i++)
	{
		const norikv_vector_index *index = &indexes[i];
		bool nulls[5] = {false};
		Datum values[5] = {
			NorikvTextFromId(index->space, connection),
			Int32GetDatum(index->dimensions),
			CStringGetTextDatum(name_of(index->distance, distances, lengthof(distances))),
			CStringGetTextDatum(
				name_of(index->type, index_types, lengthof(index_types))),
			Int64GetDatum(index->vectors),
		};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	NorikvFree(call);
	return (Datum) 0;
}
