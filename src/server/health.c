/*
 * health.c - grpc.health.v1.Health: whether the server, or one of its services,
 * serves.
 */
#include "services.h"

#include <string.h>

#include "health.pb-c.h"

typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus serving_status;

static bool
is_served(const char *service)
{
	static const char *const services[] = {
		"", "norikv.v1.Kv", "norikv.v1.Meta", "norikv.ext.v1.Kv", "grpc.health.v1.Health"
	};

	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++)
	{
		if (strcmp(service, services[i]) == 0)
			return true;
	}
	return false;
}

static serving_status
current_status(const call *self)
{
	return atomic_load(&self->server->draining)
		? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
		: GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
}

static void
start_check(call *self)
{
	const Grpc__Health__V1__HealthCheckRequest *request;
	Grpc__Health__V1__HealthCheckResponse response =
		GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

	request = call_unpack(self, &grpc__health__v1__health_check_request__descriptor);
	if (request == NULL)
		return;
	if (!is_served(request->service))
	{
		call_fail(self, GRPC_STATUS_NOT_FOUND, "there is no service \"%.200s\"",
				  request->service);
		return;
	}
	response.status = current_status(self);
	call_answer(self, &response.base);
}

const method health_check = {
	.name = WIRE_METHOD_HEALTH_CHECK,
	.posted = 32,
	.start = start_check,
	.serves_draining = true,
};

/* ---- Watch ---- */

typedef struct health_watcher
{
	bool		known;			/* a service that we have */
	bool		sending;
	bool		ended;
	serving_status told;
} health_watcher;

static void watch_sent(call *self, bool ok);

/* Tells what has changed; ends the stream when there will be nothing to tell. */
static void
watch_go_on(call *self)
{
	health_watcher *watcher = self->state;
	serving_status status = current_status(self);

	if (watcher->sending || watcher->ended)
		return;
	if (!watcher->known)
		status = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
	if (status != watcher->told && !atomic_load(&self->closed))
	{
		Grpc__Health__V1__HealthCheckResponse response =
			GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

		response.status = status;
		watcher->told = status;
		watcher->sending = true;
		call_send(self, wire_pack(&response.base), watch_sent);
		return;
	}
	if (atomic_load(&self->closed) || atomic_load(&self->server->draining))
	{
		watcher->ended = true;
		service_fail_draining(self);
	}
}

static void
watch_sent(call *self, bool ok)
{
	health_watcher *watcher = self->state;

	watcher->sending = false;
	if (ok)
	{
		watch_go_on(self);
		return;
	}
	watcher->ended = true;
	call_release(self);
}

static void
start_watch(call *self)
{
	const Grpc__Health__V1__HealthCheckRequest *request;
	health_watcher *watcher = wire_arena_alloc(&self->arena, sizeof(*watcher));

	self->state = watcher;
	/* Nothing told yet: no watcher is ever told UNKNOWN. */
	watcher->told = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__UNKNOWN;
	request = call_unpack(self, &grpc__health__v1__health_check_request__descriptor);
	if (request == NULL)
	{
		watcher->ended = true;
		return;
	}
	watcher->known = is_served(request->service);
	watch_go_on(self);
}

const method health_watch = {
	.name = WIRE_METHOD_HEALTH_WATCH,
	.watched = true,
	.posted = 32,
	.start = start_watch,
	.drain = watch_go_on,
};
