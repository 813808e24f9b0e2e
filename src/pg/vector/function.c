/*
 * function.c - the embedder that is a function of the user's: text to real[], or what
 * else can be read as a vector.
 *
 * The name comes from the owner of the server, the call has the rights of whoever asks:
 * EXECUTE is theirs to have. The name is qualified, or search_path would decide which
 * function it is.
 */
#include "vector/embedder.h"

#include "access/htup_details.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

static void
check_signature(Oid function, const char *name)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc procedure;
	bool fits;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	procedure = (Form_pg_proc) GETSTRUCT(tuple);
	fits = procedure->prokind == PROKIND_FUNCTION && !procedure->proretset &&
		   NorikvIsVectorType(procedure->prorettype);
	ReleaseSysCache(tuple);
	if (!fits)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("function %s cannot be the embedding function", name),
				errdetail("It must be a function (text) that returns real[]."));
}

static Oid
find_function(const NorikvEmbedderOptions *options)
{
	const char *name = options->function;
	const Oid argument = TEXTOID;
	AclResult result;
	Oid function;

	if (name == NULL)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("embedder \"function\" of server \"%s\" has no "
					   "\"embedding_function\"", options->server),
				errhint("It is the qualified name of a function (text) that returns "
						"real[]."));
	function = LookupFuncName(stringToQualifiedNameList(name), 1, &argument, true);
	if (!OidIsValid(function))
		ereport(ERROR, errcode(ERRCODE_UNDEFINED_FUNCTION),
				errmsg("embedding function %s(text) of server \"%s\" does not exist",
					   name, options->server));
	result = pg_proc_aclcheck(function, GetUserId(), ACL_EXECUTE);
	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_FUNCTION, name);
	check_signature(function, name);
	InvokeFunctionExecuteHook(function);
	return function;
}

/* A text; its vector is in the current memory context. */
static NorikvVector
call_function(FmgrInfo *function, const char *name, Datum text)
{
	LOCAL_FCINFO(call, 1);
	Datum result;

	InitFunctionCallInfoData(*call, function, 1, DEFAULT_COLLATION_OID, NULL, NULL);
	call->args[0].value = text;
	call->args[0].isnull = false;
	result = FunctionCallInvoke(call);
	if (call->isnull)
		ereport(ERROR, errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("embedding function %s returned null", name));
	return NorikvVectorFromDatum(result, get_func_rettype(function->fn_oid),
								 psprintf("vector of embedding function %s", name));
}

static int
embed(const NorikvEmbedderOptions *options, const Datum *texts, int n_texts,
	  float **values)
{
	MemoryContext result_context = CurrentMemoryContext;
	MemoryContext context;
	FmgrInfo function;
	int dimensions = 0;

	fmgr_info(find_function(options), &function);
	context = AllocSetContextCreate(CurrentMemoryContext, "norikv text",
									ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < n_texts; i++)
	{
		NorikvVector vector;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(context);
		vector = call_function(&function, options->function, texts[i]);
		MemoryContextSwitchTo(result_context);
		if (i == 0)
		{
			dimensions = vector.dimensions;
			*values = MemoryContextAllocHuge(
				result_context, sizeof(float) * (Size) n_texts * dimensions);
		}
		else if (vector.dimensions != dimensions)
			ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("embedding function %s made vectors of %d and of %d "
						   "dimensions", options->function, dimensions,
						   vector.dimensions));
		memcpy(*values + (Size) i * dimensions, vector.values,
			   sizeof(float) * dimensions);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
	return dimensions;
}

const NorikvEmbedder NorikvFunctionEmbedder = {"function", embed};
