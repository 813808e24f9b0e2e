/*
 * insert_many.c - many vectors in few requests, several of them under way at a time:
 * while the server works on one, the next one travels.
 */
#include "vector/vector.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(norikv_sql_vector_insert_many);

/* Requests under way at a time. */
#define IN_FLIGHT 4
/*
 * How long a request should take, in milliseconds: far from any time-out, on whatever
 * server, and long enough that the round trip does not count.
 */
#define TARGET_MS 200
#define FIRST_STEP 128
#define LEAST_STEP 8
/* When a request is full, at the latest. */
#define REQUEST_BYTES (1024 * 1024)
/* What a server may need for an operation, beside its id and its vector. */
#define OPERATION_BYTES 512

/* What is to be written, and how far it is. */
typedef struct Insertion
{
	NorikvConnection *connection;
	norikv_slice space;
	const norikv_slice *ids;
	NorikvVectors vectors;
	int *chosen; /* of equal ids the last ones */
	int n_chosen;
	int next;	 /* of chosen, to be sent */
	int64 done;	 /* vectors that the server has */
	int step;	 /* vectors of the next request */
	size_t request_bytes;
} Insertion;

/* One request. */
typedef struct Request
{
	NorikvCall *call;
	norikv_operation *operations;
	int n_operations;
} Request;

/* Each vector is written on its own: an error says how far it got. */
static void
insertion_context(void *arg)
{
	const Insertion *insertion = arg;

	errcontext("norikv batch, after " INT64_FORMAT " vectors were done",
			   insertion->done);
}

/* ---- Requests ---- */

static void
send_request(Insertion *insertion, Request *request)
{
	int limit = Min(insertion->n_chosen - insertion->next, insertion->step);
	int dimensions = insertion->vectors.dimensions;
	size_t bytes = 0;
	int n = 0;

	for (; n < limit; n++)
	{
		int row = insertion->chosen[insertion->next + n];

		bytes += OPERATION_BYTES + insertion->ids[row].size + sizeof(float) * dimensions;
		if (n > 0 && bytes > insertion->request_bytes)
			break;
		request->operations[n] = (norikv_operation){
			.kind = NORIKV_OP_VECTOR_PUT,
			.key = insertion->ids[row],
			.vector_namespace = insertion->space,
			.vector = insertion->vectors.values + (Size) row * dimensions,
			.dimensions = dimensions,
		};
	}
	request->n_operations = n;
	request->call =
		NorikvStartCommit(insertion->connection, request->operations, n, false);
	insertion->next += n;
}

static void
raise_result(const Insertion *insertion, const Request *request,
			 const norikv_operation_result *result, int at)
{
	norikv_error error = {.code = result->code,
						  .outcome_unknown = result->outcome_unknown,
						  .quota_exceeded = result->quota_exceeded,
						  .operation = at};

	strlcpy(error.text, result->text != NULL ? result->text : "", sizeof(error.text));
	request->call->subject.key = request->operations[at].key;
	NorikvRaiseVectors(&error, request->call, insertion->space);
}

/* Vectors are put into a graph: how long that takes, only trying tells. */
static void
adjust_step(Insertion *insertion, const Request *request, int most)
{
	instr_time took;
	double ratio;

	INSTR_TIME_SET_CURRENT(took);
	INSTR_TIME_SUBTRACT(took, request->call->start);
	ratio = TARGET_MS / Max(INSTR_TIME_GET_MILLISEC(took), 1.0);
	insertion->step = (int) (request->n_operations * Min(ratio, 2.0));
	insertion->step = Min(Max(insertion->step, LEAST_STEP), most);
}

static void
finish_request(Insertion *insertion, Request *request, int most)
{
	const norikv_operation_result *results;
	size_t n_results;
	int failed = -1;

	NorikvFinishVectors(request->call, insertion->space);
	adjust_step(insertion, request, most);
	results = norikv_call_results(request->call->call, &n_results);
	if (n_results != request->n_operations)
		ereport(ERROR, errcode(ERRCODE_PROTOCOL_VIOLATION),
				errmsg("server \"%s\" answered %zu results for %d operations",
					   insertion->connection->name, n_results, request->n_operations));
	for (int i = 0; i < request->n_operations; i++)
	{
		if (results[i].code == NORIKV_OK)
			insertion->done++;
		else if (failed < 0)
			failed = i;
	}
	if (failed >= 0)
		raise_result(insertion, request, &results[failed], failed);
	NorikvFree(request->call);
	request->call = NULL;
}

/* Servers limit what a Commit may hold; they are asked only where that could matter. */
static size_t
request_bytes(const Insertion *insertion)
{
	uint64 limit = NorikvGetCapabilities(insertion->connection)->commit_bytes;

	return limit == 0 ? REQUEST_BYTES : Min(limit, REQUEST_BYTES);
}

static void
send_all(Insertion *insertion)
{
	ErrorContextCallback callback = {error_context_stack, insertion_context, insertion};
	Request requests[IN_FLIGHT] = {0};
	int batch = Min(insertion->connection->settings.batch_size,
					Max(insertion->n_chosen, 1));
	int oldest = 0;

	insertion->request_bytes = request_bytes(insertion);
	batch = Min(batch, (int) (insertion->request_bytes / OPERATION_BYTES) + 1);
	for (int i = 0; i < IN_FLIGHT; i++)
		requests[i].operations = palloc(sizeof(norikv_operation) * batch);
	error_context_stack = &callback;
	insertion->step = Min(FIRST_STEP, batch);
	for (int n = 0; n < IN_FLIGHT && insertion->next < insertion->n_chosen; n++)
		send_request(insertion, &requests[n]);
	while (requests[oldest].call != NULL)
	{
		finish_request(insertion, &requests[oldest], batch);
		if (insertion->next < insertion->n_chosen)
			send_request(insertion, &requests[oldest]);
		oldest = (oldest + 1) % IN_FLIGHT;
	}
	error_context_stack = callback.previous;
}

/* ---- SQL ---- */

/* SQL declares them as "any"; a plain literal comes as a C string of no type. */
static NorikvVectors
vectors_argument(FunctionCallInfo fcinfo)
{
	Oid type = get_fn_expr_argtype(fcinfo->flinfo, 2);
	Datum datum = PG_GETARG_DATUM(2);

	if (type == UNKNOWNOID)
	{
		Oid input;
		Oid io_param;

		getTypeInputInfo(FLOAT4ARRAYOID, &input, &io_param);
		datum = OidInputFunctionCall(input, DatumGetCString(datum), io_param, -1);
		type = FLOAT4ARRAYOID;
	}
	return NorikvVectorsFromDatum(datum, type, "argument \"vectors\"");
}

static norikv_slice *
ids_argument(FunctionCallInfo fcinfo, int *count)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(1);
	norikv_slice *ids;
	Datum *elements;
	bool *nulls;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must have one dimension, but it has %d", "ids",
					   ARR_NDIM(array)));
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, count);
	ids = palloc(sizeof(norikv_slice) * Max(*count, 1));
	for (int i = 0; i < *count; i++)
	{
		if (nulls[i])
			ereport(ERROR, errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					errmsg("argument \"%s\" must not contain nulls, but element %d is "
						   "one", "ids", i + 1));
		ids[i] = NorikvVectorIdFromDatum(elements[i], "ids");
	}
	return ids;
}

/* namespace, ids, vectors */
Datum
norikv_sql_vector_insert_many(PG_FUNCTION_ARGS)
{
	Insertion insertion = {
		.connection = NorikvGetWriteConnection("norikv.vector_insert_many()")};
	int n_ids;

	insertion.space = NorikvNamespaceArgument(fcinfo);
	NorikvRequireArgument(fcinfo, 1, "ids");
	NorikvRequireArgument(fcinfo, 2, "vectors");
	insertion.ids = ids_argument(fcinfo, &n_ids);
	insertion.vectors = vectors_argument(fcinfo);
	if (n_ids != insertion.vectors.count)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("arguments \"ids\" and \"vectors\" must have the same number of "
					   "elements, but they have %d and %d",
					   n_ids, insertion.vectors.count));
	insertion.chosen = palloc(sizeof(int) * Max(n_ids, 1));
	insertion.n_chosen = NorikvLastOfEqualKeys(insertion.ids, n_ids, insertion.chosen);
	if (n_ids > 0)
		send_all(&insertion);
	PG_RETURN_INT64(insertion.done);
}
