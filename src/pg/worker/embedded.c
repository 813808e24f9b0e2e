/*
 * embedded.c - what backends see of the embedded server: where it listens, and,
 * in shared memory, whether it is there.
 */
#include "pg_norikv.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "worker.h"

/* Written by the launcher, read by all. */
typedef struct EmbeddedShared
{
	pg_atomic_uint32 state; /* a NorikvEmbeddedState */
	pg_atomic_uint32 generation;
} EmbeddedShared;

/* NULL: norikv is not preloaded, or norikv.embedded is off. */
static EmbeddedShared *shared = NULL;
static bool preloaded = false;

static Size
shared_size(void)
{
	return sizeof(EmbeddedShared);
}

static void
init_shared(LWLockPadded *locks)
{
	pg_atomic_init_u32(&shared->state, NORIKV_EMBEDDED_STARTING);
	pg_atomic_init_u32(&shared->generation, 0);
}

static const NorikvSharedMemory shared_memory = {
	.name = "norikv embedded server",
	.size = shared_size,
	.init = init_shared,
	.memory = (void **) &shared,
};

void
NorikvEmbeddedInit(void)
{
	preloaded = true;
	if (!norikv_embedded)
		return;
	NorikvShareMemory(&shared_memory);
}

void
NorikvSetEmbeddedState(NorikvEmbeddedState state)
{
	pg_atomic_write_u32(&shared->state, state);
	if (state == NORIKV_EMBEDDED_READY)
		pg_atomic_fetch_add_u32(&shared->generation, 1);
}

/* Who may not see where files are is told the file's name only. */
static const char *
configuration_file(void)
{
	return superuser() && ConfigFileName != NULL ? ConfigFileName : "postgresql.conf";
}

static void
refuse(const char *reason, const char *setting, const char *value)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("there is no embedded NoriKV server: %s", reason),
					errhint("Set \"%s = %s\" in \"%s\" and restart PostgreSQL, or name "
							"servers with the option \"nodes\" of a foreign server.",
							setting, value, configuration_file())));
}

const char *
NorikvEmbeddedNodes(void)
{
	static char *nodes = NULL;

	if (!preloaded)
		refuse("norikv is not in \"shared_preload_libraries\"",
			   "shared_preload_libraries", "'norikv'");
	if (!norikv_embedded)
		refuse("\"norikv.embedded\" is off", "norikv.embedded", "on");
	if (!IsUnderPostmaster)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("there is no embedded NoriKV server in single-user mode"),
						errhint("Start PostgreSQL as a server.")));
	if (RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("there is no embedded NoriKV server on a standby"),
						errhint("It starts when this PostgreSQL is promoted. Until then, "
								"name servers with the option \"nodes\" of a foreign "
								"server.")));
	if (nodes == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		nodes = psprintf("unix:%s", NorikvSocketPath());
		MemoryContextSwitchTo(old);
	}
	return nodes;
}

uint32
NorikvEmbeddedGeneration(void)
{
	return shared == NULL ? 0 : pg_atomic_read_u32(&shared->generation);
}

const char *
NorikvEmbeddedTrouble(void)
{
	if (shared == NULL)
		return NULL;
	switch ((NorikvEmbeddedState) pg_atomic_read_u32(&shared->state))
	{
		case NORIKV_EMBEDDED_READY:
			return NULL;
		case NORIKV_EMBEDDED_STARTING:
			return "The embedded server is starting.";
		case NORIKV_EMBEDDED_FAILING:
			return "The embedded server ended and is started again; the server log says "
				   "why.";
		case NORIKV_EMBEDDED_IN_USE:
			return "Another process uses the store in \"norikv.data_dir\"; the server "
				   "log "
				   "has more.";
		case NORIKV_EMBEDDED_REFUSED:
			return "The embedded server refuses the store in \"norikv.data_dir\"; the "
				   "server log says why and what to do.";
		case NORIKV_EMBEDDED_STOPPED:
			return "The embedded server is stopped: PostgreSQL is shutting down.";
	}
	return NULL;
}
