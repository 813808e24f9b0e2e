/*
 * request.c - checks requests and puts them into the engine's words.
 */
#include "request.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <grpc/support/alloc.h>
#include <xxhash.h>

#include "wire.h"

static bool
wrong(char *error, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static bool
wrong(char *error, const char *format, ...)
{
	va_list		arguments;

	va_start(arguments, format);
	vsnprintf(error, REQUEST_ERROR_SIZE, format, arguments);
	va_end(arguments);
	return false;
}

static engine_slice
slice_of(ProtobufCBinaryData bytes)
{
	return (engine_slice) {(const char *) bytes.data, bytes.len};
}

engine_slice
request_text(const char *text)
{
	return (engine_slice) {text, strlen(text)};
}

engine_slice
request_floats(const float *floats, size_t n_floats)
{
	return (engine_slice) {(const char *) floats, n_floats * sizeof(float)};
}

/* where: what stands before the field's name, such as "operations[3]." */
static bool
check_key(engine_slice key, const char *where, char *error)
{
	if (key.size >= 1 && key.size <= WIRE_MAX_KEY)
		return true;
	return wrong(error, "%skey has %zu bytes; a key has 1 to %d", where, key.size,
				 WIRE_MAX_KEY);
}

static bool
check_value(engine_slice value, const char *where, char *error)
{
	if (value.size <= WIRE_MAX_VALUE)
		return true;
	return wrong(error, "%svalue has %zu bytes; a value has at most %d", where,
				 value.size, WIRE_MAX_VALUE);
}

static bool
check_ttl(uint64_t ttl_ms, const char *where, char *error)
{
	if (ttl_ms <= WIRE_MAX_TTL_MS)
		return true;
	return wrong(error, "%sttl_ms is %llu; at most 100 years, %llu, are allowed", where,
				 (unsigned long long) ttl_ms, (unsigned long long) WIRE_MAX_TTL_MS);
}

static bool
translate_condition(const Norikv__V1__Version *if_match, engine_op *op,
					const char *where, char *error)
{
	if (if_match == NULL)
	{
		op->condition = ENGINE_IF_ANY;
		return true;
	}
	if (if_match->index == 0 && if_match->term != 0)
		return wrong(error, "%sif_match is %llu/0; a version has an index of 1 or more, "
					 "and 0/0 stands for an absent key", where,
					 (unsigned long long) if_match->term);
	op->condition = if_match->index == 0 ? ENGINE_IF_ABSENT : ENGINE_IF_VERSION;
	op->version = (engine_version) {if_match->term, if_match->index};
	return true;
}

static bool
check_delete_condition(const engine_op *op, const char *where, char *error)
{
	if (op->condition != ENGINE_IF_ABSENT)
		return true;
	return wrong(error, "%sif_match is 0/0; to delete a key only if it is absent "
				 "means nothing", where);
}

bool
request_consistency(const char *name, engine_consistency *consistency, char *error)
{
	static const struct
	{
		const char *name;
		engine_consistency consistency;
	}			names[] = {
		{"", ENGINE_STRONG},
		{"strong", ENGINE_STRONG},
		{"eventual", ENGINE_EVENTUAL},
		{"bounded_staleness", ENGINE_BOUNDED_STALENESS},
		/* What other clients of NoriKV say. */
		{"linearizable", ENGINE_STRONG},
		{"lease", ENGINE_STRONG},
		{"stale_read", ENGINE_EVENTUAL},
		{"stale_ok", ENGINE_EVENTUAL},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		if (strcmp(name, names[i].name) == 0)
		{
			*consistency = names[i].consistency;
			return true;
		}
	}
	return wrong(error, "consistency is \"%.64s\"; it must be strong, eventual or "
				 "bounded_staleness", name);
}

bool
request_get(const Norikv__V1__GetRequest *request, engine_slice *key,
			engine_consistency *consistency, char *error)
{
	*key = slice_of(request->key);
	return check_key(*key, "", error) &&
		request_consistency(request->consistency, consistency, error);
}

bool
request_put(const Norikv__V1__PutRequest *request, engine_op *op, char *error)
{
	memset(op, 0, sizeof(*op));
	op->kind = ENGINE_PUT;
	op->blind = true;
	op->key = slice_of(request->key);
	op->value = slice_of(request->value);
	op->ttl = request->ttl_ms != 0 ? ENGINE_TTL_SET : ENGINE_TTL_NONE;
	op->ttl_ms = request->ttl_ms;
	return check_key(op->key, "", error) && check_value(op->value, "", error) &&
		check_ttl(op->ttl_ms, "", error) &&
		translate_condition(request->if_match, op, "", error);
}

bool
request_delete(const Norikv__V1__DeleteRequest *request, engine_op *op, char *error)
{
	memset(op, 0, sizeof(*op));
	op->kind = ENGINE_DELETE;
	op->key = slice_of(request->key);
	return check_key(op->key, "", error) &&
		translate_condition(request->if_match, op, "", error) &&
		check_delete_condition(op, "", error);
}

bool
request_idempotency_key(const char *key, engine_slice *slice, char *error)
{
	*slice = (engine_slice) {key, strlen(key)};
	if (slice->size <= WIRE_MAX_IDEMPOTENCY_KEY)
		return true;
	return wrong(error, "idempotency_key has %zu bytes; at most %d are allowed",
				 slice->size, WIRE_MAX_IDEMPOTENCY_KEY);
}

bool
request_count(const char *field, size_t count, char *error)
{
	return count <= REQUEST_MAX_KEYS ||
		wrong(error, "%s has %zu %s; at most %d are allowed", field, count, field,
			  REQUEST_MAX_KEYS);
}

bool
request_multi_get(const Norikv__Ext__V1__MultiGetRequest *request,
				  engine_consistency *consistency, char *error)
{
	if (!request_count("keys", request->n_keys, error))
		return false;
	for (size_t i = 0; i < request->n_keys; i++)
	{
		size_t		size = request->keys[i].len;

		if (size < 1 || size > WIRE_MAX_KEY)
			return wrong(error, "keys[%zu] has %zu bytes; a key has 1 to %d", i, size,
						 WIRE_MAX_KEY);
	}
	return request_consistency(request->consistency, consistency, error);
}

/* The end of a range may be one byte longer than a key: the key and a zero byte. */
static bool
check_bound(engine_slice bound, const char *where, const char *field, char *error)
{
	if (bound.size <= WIRE_MAX_KEY + 1)
		return true;
	return wrong(error, "%s%s has %zu bytes; at most %d are allowed", where, field,
				 bound.size, WIRE_MAX_KEY + 1);
}

bool
request_scan(const Norikv__Ext__V1__ScanRequest *request, engine_scan *scan, char *error)
{
	memset(scan, 0, sizeof(*scan));
	scan->start = slice_of(request->start);
	scan->end = slice_of(request->end);
	scan->reverse = request->reverse;
	scan->max_rows = request->max_rows;
	scan->keys_only = request->keys_only;
	scan->count_only = request->count_only;
	scan->one_snapshot = request->one_snapshot;
	return check_bound(scan->start, "", "start", error) &&
		check_bound(scan->end, "", "end", error) &&
		request_consistency(request->consistency, &scan->consistency, error);
}

bool
request_vector_scan(const Norikv__Ext__V1__VectorScanRequest *request, engine_scan *scan,
					char *error)
{
	memset(scan, 0, sizeof(*scan));
	scan->space = request_text(request->namespace_);
	scan->start = slice_of(request->start);
	scan->end = slice_of(request->end);
	scan->reverse = request->reverse;
	scan->max_rows = request->max_rows;
	scan->keys_only = request->ids_only;
	scan->one_snapshot = request->one_snapshot;
	if (scan->space.size < 1 || scan->space.size > WIRE_MAX_NAMESPACE)
		return wrong(error, "namespace has %zu bytes; a namespace has 1 to %d",
					 scan->space.size, WIRE_MAX_NAMESPACE);
	return check_bound(scan->start, "", "start", error) &&
		check_bound(scan->end, "", "end", error) &&
		request_consistency(request->consistency, &scan->consistency, error);
}

bool
request_watch(const Norikv__Ext__V1__WatchRequest *request, engine_watch_request *watch,
			  char *error)
{
	memset(watch, 0, sizeof(*watch));
	watch->start = slice_of(request->start);
	watch->end = slice_of(request->end);
	if (request->after != NULL)
		watch->after = (engine_version) {request->after->term, request->after->index};
	watch->history = request->history;
	watch->heartbeat_ms = request->heartbeat_ms;
	return check_bound(watch->start, "", "start", error) &&
		check_bound(watch->end, "", "end", error);
}

static bool
check_prefix(engine_slice prefix, char *error)
{
	if (prefix.size <= WIRE_MAX_KEY)
		return true;
	return wrong(error, "prefix has %zu bytes; at most %d are allowed", prefix.size,
				 WIRE_MAX_KEY);
}

bool
request_set_quota(const Norikv__Ext__V1__SetQuotaRequest *request, engine_op *op,
				  char *error)
{
	memset(op, 0, sizeof(*op));
	op->kind = request->remove ? ENGINE_QUOTA_REMOVE : ENGINE_QUOTA_SET;
	op->key = slice_of(request->prefix);
	op->quota = (engine_quota) {request->max_keys, request->max_bytes};
	if (request->remove && (request->max_keys != 0 || request->max_bytes != 0))
		return wrong(error, "max_keys and max_bytes do not go with remove");
	return check_prefix(op->key, error);
}

bool
request_usage(const Norikv__Ext__V1__UsageRequest *request, engine_slice *prefix,
			  char *error)
{
	*prefix = slice_of(request->prefix);
	return check_prefix(*prefix, error);
}

/* ---- Operations of a Commit ---- */

static bool
translate_kind(int kind, engine_op *op, const char *where, char *error)
{
	switch (kind)
	{
		case NORIKV__EXT__V1__OPERATION__KIND__PUT:
			op->kind = ENGINE_PUT;
			op->blind = true;
			return true;
		case NORIKV__EXT__V1__OPERATION__KIND__DELETE:
			op->kind = ENGINE_DELETE;
			return true;
		case NORIKV__EXT__V1__OPERATION__KIND__CHECK:
			op->kind = ENGINE_CHECK;
			return true;
		case NORIKV__EXT__V1__OPERATION__KIND__ADD:
			op->kind = ENGINE_ADD;
			return true;
		case NORIKV__EXT__V1__OPERATION__KIND__DELETE_RANGE:
			op->kind = ENGINE_DELETE_RANGE;
			return true;
		case NORIKV__EXT__V1__OPERATION__KIND__VECTOR_PUT:
			op->kind = ENGINE_VECTOR_PUT;
			return true;
		case NORIKV__EXT__V1__OPERATION__KIND__VECTOR_DELETE:
			op->kind = ENGINE_VECTOR_DELETE;
			return true;
		case NORIKV__EXT__V1__OPERATION__KIND__VECTOR_CHECK:
			op->kind = ENGINE_VECTOR_CHECK;
			return true;
		case NORIKV__EXT__V1__OPERATION__KIND__VECTOR_DELETE_RANGE:
			op->kind = ENGINE_VECTOR_DELETE_RANGE;
			return true;
		default:
			return wrong(error, "%skind is %d, which this server does not know", where,
						 kind);
	}
}

static bool
translate_operation_ttl(const Norikv__Ext__V1__Operation *operation, engine_op *op,
						const char *where, char *error)
{
	bool		set = operation->ttl == NORIKV__EXT__V1__OPERATION__TTL__SET;

	if (operation->ttl < NORIKV__EXT__V1__OPERATION__TTL__NONE ||
		operation->ttl > NORIKV__EXT__V1__OPERATION__TTL__KEEP)
		return wrong(error, "%sttl is %d, which this server does not know", where,
					 (int) operation->ttl);
	if (set != (operation->ttl_ms != 0))
		return wrong(error, "%sttl_ms is %llu; it goes with ttl SET, and is 1 or more "
					 "there", where, (unsigned long long) operation->ttl_ms);
	if (op->kind == ENGINE_ADD)
	{
		if (operation->ttl != NORIKV__EXT__V1__OPERATION__TTL__NONE)
			return wrong(error, "%sttl goes with PUT only: ADD leaves the expiry as it "
						 "is", where);
		op->ttl = ENGINE_TTL_KEEP;
		return true;
	}
	if (op->kind != ENGINE_PUT &&
		operation->ttl != NORIKV__EXT__V1__OPERATION__TTL__NONE)
		return wrong(error, "%sttl goes with PUT only", where);
	op->ttl = set ? ENGINE_TTL_SET
		: operation->ttl == NORIKV__EXT__V1__OPERATION__TTL__KEEP ? ENGINE_TTL_KEEP
		: ENGINE_TTL_NONE;
	op->ttl_ms = operation->ttl_ms;
	return check_ttl(op->ttl_ms, where, error);
}

static bool
is_on_vector(const engine_op *op)
{
	return op->kind == ENGINE_VECTOR_PUT || op->kind == ENGINE_VECTOR_DELETE ||
		op->kind == ENGINE_VECTOR_CHECK || op->kind == ENGINE_VECTOR_DELETE_RANGE;
}

static bool
is_on_range(const engine_op *op)
{
	return op->kind == ENGINE_DELETE_RANGE || op->kind == ENGINE_VECTOR_DELETE_RANGE;
}

/* What else is wrong with them the engine says. */
static bool
translate_vector(const Norikv__Ext__V1__Operation *operation, engine_op *op,
				 const char *where, char *error)
{
	op->space = slice_of(operation->namespace_);
	op->value = request_floats(operation->vector, operation->n_vector);
	if (op->space.size < 1 || op->space.size > WIRE_MAX_NAMESPACE)
		return wrong(error, "%snamespace has %zu bytes; a namespace has 1 to %d", where,
					 op->space.size, WIRE_MAX_NAMESPACE);
	if (op->kind == ENGINE_VECTOR_DELETE_RANGE)
		return check_bound(op->key, where, "key", error) &&
			check_bound(op->end_key, where, "end_key", error);
	if (op->key.size < 1 || op->key.size > WIRE_MAX_VECTOR_ID)
		return wrong(error, "%skey has %zu bytes; a vector's id has 1 to %d", where,
					 op->key.size, WIRE_MAX_VECTOR_ID);
	return true;
}

/* A field that an operation does not read is a mistake, never ignored. */
static bool
check_unread_fields(const Norikv__Ext__V1__Operation *operation, const engine_op *op,
					const char *where, char *error)
{
	if (op->kind != ENGINE_PUT && operation->value.len != 0)
		return wrong(error, "%svalue goes with PUT only", where);
	if (op->kind != ENGINE_ADD && operation->delta != 0)
		return wrong(error, "%sdelta goes with ADD only", where);
	if (!is_on_range(op) && operation->end_key.len != 0)
		return wrong(error, "%send_key goes with DELETE_RANGE only", where);
	if (!is_on_vector(op) && operation->namespace_.len != 0)
		return wrong(error, "%snamespace goes with operations on vectors only", where);
	if (op->kind != ENGINE_VECTOR_PUT && operation->n_vector != 0)
		return wrong(error, "%svector goes with VECTOR_PUT only", where);
	return true;
}

static bool
check_operation_condition(const engine_op *op, const char *where, char *error)
{
	if ((op->kind == ENGINE_CHECK || op->kind == ENGINE_VECTOR_CHECK) &&
		op->condition == ENGINE_IF_ANY)
		return wrong(error, "%sif_match is not set: %sCHECK needs it", where,
					 op->kind == ENGINE_CHECK ? "" : "VECTOR_");
	if (is_on_range(op) && op->condition != ENGINE_IF_ANY)
		return wrong(error, "%sif_match does not go with DELETE_RANGE", where);
	if (op->kind == ENGINE_DELETE || op->kind == ENGINE_VECTOR_DELETE)
		return check_delete_condition(op, where, error);
	return true;
}

bool
request_operation(const Norikv__Ext__V1__Operation *operation, size_t number,
				  engine_op *op, char *error)
{
	char		where[48];

	snprintf(where, sizeof(where), "operations[%zu].", number);
	memset(op, 0, sizeof(*op));
	op->key = slice_of(operation->key);
	op->value = slice_of(operation->value);
	op->end_key = slice_of(operation->end_key);
	op->delta = operation->delta;
	if (!translate_kind(operation->kind, op, where, error) ||
		!translate_condition(operation->if_match, op, where, error) ||
		!translate_operation_ttl(operation, op, where, error) ||
		!check_unread_fields(operation, op, where, error) ||
		!check_operation_condition(op, where, error) ||
		!check_value(op->value, where, error))
		return false;
	if (is_on_vector(op))
		return translate_vector(operation, op, where, error);
	if (op->kind == ENGINE_DELETE_RANGE)
		return check_bound(op->key, where, "key", error) &&
			check_bound(op->end_key, where, "end_key", error);
	return check_key(op->key, where, error);
}

static bool
same_key(const engine_op *a, const engine_op *b)
{
	return a->key.size == b->key.size && a->space.size == b->space.size &&
		memcmp(a->key.data, b->key.data, a->key.size) == 0 &&
		(a->space.size == 0 || memcmp(a->space.data, b->space.data, a->space.size) == 0);
}

/*
 * Finds two operations on one key by an open hash table of operation numbers,
 * seeded by an address, so that no client can choose keys that all meet. Ranges
 * are no keys.
 */
bool
request_distinct_keys(const engine_op *ops, size_t n_ops, char *error)
{
	size_t		mask = 1;
	uint32_t   *slots;			/* operation number + 1; 0: free */
	size_t		i;

	while (mask < n_ops * 2)
		mask *= 2;
	mask--;
	slots = gpr_zalloc((mask + 1) * sizeof(*slots));
	for (i = 0; i < n_ops; i++)
	{
		size_t		at;

		if (is_on_range(&ops[i]))
			continue;
		at = XXH3_64bits_withSeed(ops[i].key.data, ops[i].key.size, (uintptr_t) slots) &
			mask;
		while (slots[at] != 0 && !same_key(&ops[slots[at] - 1], &ops[i]))
			at = (at + 1) & mask;
		if (slots[at] != 0)
		{
			wrong(error, "operations[%u] and operations[%zu] are on one key; a Commit "
				  "has one operation for a key", slots[at] - 1, i);
			break;
		}
		slots[at] = (uint32_t) i + 1;
	}
	gpr_free(slots);
	return i == n_ops;
}
