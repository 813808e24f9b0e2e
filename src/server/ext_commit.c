/*
 * ext_commit.c - norikv.ext.v1.Kv/Commit: operations are staged as they come,
 * counted against the memory that requests in flight may hold, and handed to
 * the engine as one unit when the caller says end.
 */
#include "services.h"

#include <stdio.h>

#include <grpc/support/alloc.h>

#include "chunk.h"
#include "norikv_ext.pb-c.h"
#include "request.h"
#include "unpack.h"

/*
 * What an operation takes beside its bytes: the message, its pointer, a version,
 * the engine's form, the result and the slot that finds two on one key.
 */
#define OPERATION_OVERHEAD \
	(sizeof(Norikv__Ext__V1__Operation) + sizeof(void *) + sizeof(Norikv__V1__Version) + \
	 sizeof(engine_op) + sizeof(engine_result) + 4 * sizeof(uint32_t))

typedef enum commit_phase
{
	COMMIT_RECEIVING,
	COMMIT_STARTED,				/* the engine has it, or its results are sent */
	COMMIT_ENDED				/* it was refused */
} commit_phase;

typedef struct commit
{
	commit_phase phase;			/* only the call's thread looks */
	grpc_byte_buffer *message;
	bool		begun;			/* the first message has come */
	engine_op  *ops;
	size_t		n_ops;
	size_t		room;
	engine_unit unit;
	grpc_byte_buffer **answers;	/* messages with results, in order */
	size_t		n_answers;
	size_t		next_answer;
} commit;

static void message_received(call *owner, bool ok);

static void
free_commit(void *state)
{
	commit	   *self = state;

	if (self->message != NULL)
		grpc_byte_buffer_destroy(self->message);
	while (self->next_answer < self->n_answers)
		grpc_byte_buffer_destroy(self->answers[self->next_answer++]);
	gpr_free(self->answers);
	gpr_free(self->ops);
	gpr_free(self);
}

static void
refuse(call *owner, int code, const char *text)
{
	commit	   *self = owner->state;

	self->phase = COMMIT_ENDED;
	call_fail_text(owner, code, text);
}

/* ---- Answering ---- */

static void
send_next(call *owner, bool ok)
{
	commit	   *self = owner->state;
	grpc_byte_buffer *answer;

	if (!ok)
	{
		call_release(owner);
		return;
	}
	answer = self->answers[self->next_answer++];
	if (self->next_answer < self->n_answers)
		call_send(owner, answer, send_next);
	else
		call_answer_buffer(owner, answer);
}

static void
add_answer(commit *self, chunk *packed)
{
	self->answers = gpr_realloc(self->answers,
								(self->n_answers + 1) * sizeof(*self->answers));
	self->answers[self->n_answers++] = chunk_take(packed);
}

static void
add_result(chunk *packed, const engine_result *result, bool applied)
{
	Norikv__Ext__V1__OperationResult packable = NORIKV__EXT__V1__OPERATION_RESULT__INIT;
	char		text[ENGINE_TEXT_SIZE];
	engine_code code = result->code;

	if (code == ENGINE_OK && !applied)
		code = ENGINE_ABORTED;	/* in order itself, and undone with the others */
	packable.code = code;
	if (code != ENGINE_OK)
	{
		snprintf(text, sizeof(text), "%.*s", (int) result->text.size,
				 result->text.size > 0 ? result->text.data : "");
		packable.message = text;
	}
	packable.version_term = result->version.term;
	packable.version_index = result->version.index;
	packable.existed = result->existed;
	packable.value = result->value;
	packable.deleted = result->deleted;
	chunk_add_element(packed, &packable.base);
}

static void
commit_done(void *arg, const engine_outcome *outcome)
{
	call	   *owner = arg;
	commit	   *self = owner->state;
	bool		applied = outcome->status.code == ENGINE_OK;
	Norikv__Ext__V1__CommitResponse fields = NORIKV__EXT__V1__COMMIT_RESPONSE__INIT;
	chunk		packed = {0};

	if (!applied && outcome->results == NULL)
	{
		call_fail_text(owner, (int) outcome->status.code, outcome->status.text);
		return;
	}
	for (size_t i = 0; i < outcome->n_results; i++)
	{
		add_result(&packed, &outcome->results[i], applied);
		if (packed.size >= CHUNK_SIZE)
			add_answer(self, &packed);
	}
	fields.applied = applied;
	chunk_add_fields(&packed, &fields.base);
	add_answer(self, &packed);
	send_next(owner, true);
}

/* ---- Staging ---- */

static bool
add_operations(commit *self, const Norikv__Ext__V1__CommitRequest *request, char *error)
{
	size_t		needed = self->n_ops + request->n_operations;

	if (needed > self->room)
	{
		self->room = needed > self->room * 2 ? needed : self->room * 2;
		self->ops = gpr_realloc(self->ops, self->room * sizeof(*self->ops));
	}
	for (size_t i = 0; i < request->n_operations; i++)
	{
		if (!request_operation(request->operations[i], self->n_ops,
							   &self->ops[self->n_ops], error))
			return false;
		self->n_ops++;
	}
	return true;
}

/* The first message says what the Commit is; the others must not contradict it. */
static bool
take_header(call *owner, const Norikv__Ext__V1__CommitRequest *request, char *error)
{
	commit	   *self = owner->state;

	if (self->begun)
	{
		if (!request->atomic && *request->idempotency_key == '\0')
			return true;
		snprintf(error, REQUEST_ERROR_SIZE,
				 "atomic and idempotency_key go with the first message of a Commit only");
		return false;
	}
	self->begun = true;
	self->unit.atomic = request->atomic;
	self->unit.scope = call_credential(owner);
	return request_idempotency_key(request->idempotency_key,
								   &self->unit.idempotency_key, error);
}

/* Where the Commit itself is too large it will always be; else others are in its way. */
static bool
stage_memory(call *owner, size_t size)
{
	const bounds *staged = owner->server->staged;
	unsigned long long most = bounds_peer_limit(staged);
	char		error[REQUEST_ERROR_SIZE];

	if (call_stage_memory(owner, size))
		return true;
	if (owner->staged + size > most)
	{
		snprintf(error, sizeof(error), "this Commit needs more than %llu bytes of this "
				 "server's memory, which is all that one may have", most);
		refuse(owner, GRPC_STATUS_RESOURCE_EXHAUSTED, error);
	}
	else
	{
		snprintf(error, sizeof(error), "Commits that are not complete take all the "
				 "memory there is for them, %llu bytes, %llu for one connection: "
				 "try again",
				 (unsigned long long) bounds_limit(staged), most);
		refuse(owner, GRPC_STATUS_UNAVAILABLE, error);
	}
	return false;
}

static void
start_unit(call *owner)
{
	commit	   *self = owner->state;
	engine	   *store = owner->server->engine;
	engine_unit *unit = &self->unit;
	char		error[REQUEST_ERROR_SIZE];

	if (!request_distinct_keys(self->ops, self->n_ops, error))
	{
		refuse(owner, GRPC_STATUS_INVALID_ARGUMENT, error);
		return;
	}
	self->phase = COMMIT_STARTED;
	if (self->n_ops == 0)
	{
		engine_outcome nothing = {.operation = -1};

		commit_done(owner, &nothing);
		return;
	}
	unit->ops = self->ops;
	unit->n_ops = self->n_ops;
	unit->may_start = service_may_start;
	unit->done = commit_done;
	unit->arg = owner;
	if (unit->idempotency_key.size > 0)
		engine_unit_fingerprint(unit);
	store->methods->commit(store, unit);
}

/* Field number of CommitRequest.operations. */
#define OPERATIONS_FIELD 3

/* One message, unpacked; NULL where the Commit has been refused. */
static const Norikv__Ext__V1__CommitRequest *
unpack_staged(call *owner, const message_bytes *bytes)
{
	const Norikv__Ext__V1__CommitRequest *request;
	size_t		n_ops = message_count(bytes, OPERATIONS_FIELD);
	char		error[UNPACK_ERROR_SIZE];

	if (!stage_memory(owner, bytes->size + n_ops * OPERATION_OVERHEAD))
		return NULL;
	request = message_unpack(bytes, &norikv__ext__v1__commit_request__descriptor,
							 &owner->arena, error);
	if (request == NULL)
		refuse(owner, GRPC_STATUS_INVALID_ARGUMENT, error);
	return request;
}

/* True where the next message is to be read. */
static bool
stage(call *owner, grpc_byte_buffer *message)
{
	commit	   *self = owner->state;
	const Norikv__Ext__V1__CommitRequest *request;
	message_bytes bytes;
	char		error[REQUEST_ERROR_SIZE];

	message_open(&bytes, message);
	request = unpack_staged(owner, &bytes);
	message_close(&bytes);
	if (request == NULL)
		return false;
	if (!take_header(owner, request, error) || !add_operations(self, request, error))
	{
		refuse(owner, GRPC_STATUS_INVALID_ARGUMENT, error);
		return false;
	}
	if (request->end)
		start_unit(owner);
	return !request->end;
}

static void
message_received(call *owner, bool ok)
{
	commit	   *self = owner->state;
	grpc_byte_buffer *message = self->message;

	self->message = NULL;
	if (self->phase == COMMIT_RECEIVING)
	{
		if (!ok || message == NULL)
			refuse(owner, GRPC_STATUS_INVALID_ARGUMENT,
				   "the stream closed before a message with end: nothing was written");
		else if (stage(owner, message))
			call_receive(owner, &self->message, message_received);
	}
	if (message != NULL)
		grpc_byte_buffer_destroy(message);
}

/* What has not been committed when the server goes down never will be. */
static void
drain_commit(call *owner)
{
	commit	   *self = owner->state;

	if (self->phase != COMMIT_RECEIVING)
		return;
	self->phase = COMMIT_ENDED;
	service_fail_draining(owner);
}

static void
start_commit(call *owner)
{
	commit	   *self = gpr_zalloc(sizeof(*self));

	owner->state = self;
	owner->free_state = free_commit;
	if (atomic_load(&owner->server->draining))
		drain_commit(owner);
	else
		call_receive(owner, &self->message, message_received);
}

const method ext_commit = {
	.name = WIRE_METHOD_COMMIT,
	.client_streams = true,
	.watched = true,
	.posted = 64,
	.start = start_commit,
	.drain = drain_commit,
};
