/*
 * services.c - the list of methods, and what several of them need.
 */
#include "services.h"

#include "request.h"
#include "words.h"

const method *const server_methods[] = {
	&kv_put,
	&kv_get,
	&kv_delete,
	&meta_watch_cluster,
	&health_check,
	&health_watch,
	&ext_info,
	&ext_multi_get,
	&ext_commit,
	&ext_scan,
	&ext_watch,
	&ext_set_quota,
	&ext_usage,
	&vector_create_index,
	&vector_drop_index,
	&vector_insert,
	&vector_delete,
	&vector_get,
	&vector_search_one,
	&ext_vector_list,
	&ext_vector_multi_get,
	&ext_vector_search,
	&ext_vector_scan,
	NULL
};

engine_code
service_may_start(void *arg)
{
	call	   *self = arg;

	if (call_deadline_passed(self))
		return ENGINE_DEADLINE_EXCEEDED;
	if (call_is_over(self))
		return ENGINE_CANCELLED;
	return ENGINE_OK;
}

uint64_t
service_microseconds_since(const struct timespec *started)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t) ((now.tv_sec - started->tv_sec) * 1000000 +
					   (now.tv_nsec - started->tv_nsec) / 1000);
}

void
service_fail_draining(call *self)
{
	call_fail_text(self, GRPC_STATUS_UNAVAILABLE, WORDS_SHUTTING_DOWN);
}

/* ---- Writes of one operation ---- */

static void
write_done(void *arg, const engine_outcome *outcome)
{
	call	   *self = arg;
	service_write *write = self->state;

	if (outcome->status.code != ENGINE_OK)
		call_fail_text(self, (int) outcome->status.code, outcome->status.text);
	else
		write->answer(self, &outcome->results[0]);
}

void
service_commit(call *self, service_write *write, const char *idempotency_key)
{
	engine_unit *unit = &write->unit;
	char		error[REQUEST_ERROR_SIZE];

	if (!request_idempotency_key(idempotency_key, &unit->idempotency_key, error))
	{
		call_fail_text(self, GRPC_STATUS_INVALID_ARGUMENT, error);
		return;
	}
	if (unit->idempotency_key.size > 0)
		unit->scope = call_credential(self);
	if (!call_take_memory(self, grpc_byte_buffer_length(self->request)))
		return;
	self->state = write;
	unit->atomic = true;
	unit->ops = &write->op;
	unit->n_ops = 1;
	unit->may_start = service_may_start;
	unit->done = write_done;
	unit->arg = self;
	if (unit->idempotency_key.size > 0)
		engine_unit_fingerprint(unit);
	self->server->engine->methods->commit(self->server->engine, unit);
}
