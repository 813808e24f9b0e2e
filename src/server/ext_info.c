/*
 * ext_info.c - norikv.ext.v1.Kv/Info: what this server is and can do.
 */
#include "services.h"

#include "norikv_ext.pb-c.h"
#include "request.h"

#define MAX_CAPABILITIES 16

static size_t
list_capabilities(const engine_info *info, char **names)
{
	const struct
	{
		const char *name;
		bool		present;
	}			all[] = {
		{"atomic_cas", true},
		{"create", true},
		{"conditional_delete", true},
		{"ttl", true},
		{"batch", true},
		{"keepalive", true},
		{"scan", info->scan},
		{"transactions", info->transactions},
		{"add", info->add},
		{"watch", info->watch},
		{"quotas", info->quotas},
		{"vectors", info->vectors},
		{"vector_checks", info->vectors},
		{"vector_scan", info->vectors && info->scan},
		{"vector_ranges", info->vectors},
		{"durable", info->durable},
	};
	size_t		n = 0;

	_Static_assert(sizeof(all) / sizeof(all[0]) <= MAX_CAPABILITIES, "room for all");
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
	{
		if (all[i].present)
			names[n++] = (char *) all[i].name;
	}
	return n;
}

static uint64_t
smaller_limit(uint64_t limit, uint64_t other)
{
	return limit == 0 || other < limit ? other : limit;
}

static void
start_info(call *self)
{
	Norikv__Ext__V1__InfoResponse response = NORIKV__EXT__V1__INFO_RESPONSE__INIT;
	Norikv__Ext__V1__Limits limits = NORIKV__EXT__V1__LIMITS__INIT;
	char	   *capabilities[MAX_CAPABILITIES];
	engine_info info = {0};

	if (call_unpack(self, &norikv__ext__v1__info_request__descriptor) == NULL)
		return;
	self->server->engine->methods->info(self->server->engine, &info);
	limits.commit_operations = info.max_ops;
	limits.commit_conditions = info.max_conditions;
	limits.commit_bytes = smaller_limit(info.max_bytes,
										bounds_peer_limit(self->server->staged));
	limits.key_bytes = WIRE_MAX_KEY;
	limits.value_bytes = WIRE_MAX_VALUE;
	limits.message_bytes = WIRE_MAX_MESSAGE;
	limits.multi_get_keys = REQUEST_MAX_KEYS;
	response.name = (char *) NORIKVD_NAME;
	response.version = (char *) NORIKVD_VERSION;
	response.engine = (char *) info.name;
	response.store_id = info.store_id;
	response.n_capabilities = list_capabilities(&info, capabilities);
	response.capabilities = capabilities;
	response.limits = &limits;
	response.expiry_granularity_ms = info.expiry_granularity_ms;
	response.store_time_ms = info.store_time_ms;
	response.latest_term = info.latest.term;
	response.latest_index = info.latest.index;
	call_answer(self, &response.base);
}

const method ext_info = {
	.name = WIRE_METHOD_INFO,
	.posted = 32,
	.start = start_info,
};
