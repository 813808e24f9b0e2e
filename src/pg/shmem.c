/*
 * shmem.c - memory that all processes of this PostgreSQL share.
 *
 * Each part of the extension that needs some says so while libraries are preloaded. The
 * hooks are taken once, and before PostgreSQL 15 there is none for requesting.
 */
#include "pg_norikv.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#define MAX_PARTS 16

static const NorikvSharedMemory *parts[MAX_PARTS];
static int n_parts = 0;
static shmem_startup_hook_type next_shmem_startup_hook = NULL;
#if PG_VERSION_NUM >= 150000
static shmem_request_hook_type next_shmem_request_hook = NULL;
#endif

static void
request(const NorikvSharedMemory *part)
{
	RequestAddinShmemSpace(MAXALIGN(part->size()));
	if (part->n_locks > 0)
		RequestNamedLWLockTranche(part->tranche, part->n_locks);
}

#if PG_VERSION_NUM >= 150000
static void
request_all(void)
{
	if (next_shmem_request_hook != NULL)
		next_shmem_request_hook();
	for (int i = 0; i < n_parts; i++)
		request(parts[i]);
}
#endif

static void
attach(const NorikvSharedMemory *part)
{
	LWLockPadded *locks = NULL;
	Size size = part->size();
	bool found;

	if (part->n_locks > 0)
		locks = GetNamedLWLockTranche(part->tranche);
	*part->memory = ShmemInitStruct(part->name, size, &found);
	if (part->attach != NULL)
		part->attach();
	if (!found)
	{
		if (!part->sparse)
			memset(*part->memory, 0, size);
		part->init(locks);
	}
}

static void
attach_all(void)
{
	if (next_shmem_startup_hook != NULL)
		next_shmem_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (int i = 0; i < n_parts; i++)
		attach(parts[i]);
	LWLockRelease(AddinShmemInitLock);
}

void
NorikvShareMemory(const NorikvSharedMemory *part)
{
	Assert(process_shared_preload_libraries_in_progress && n_parts < MAX_PARTS);
	if (n_parts == 0)
	{
#if PG_VERSION_NUM >= 150000
		next_shmem_request_hook = shmem_request_hook;
		shmem_request_hook = request_all;
#endif
		next_shmem_startup_hook = shmem_startup_hook;
		shmem_startup_hook = attach_all;
	}
	parts[n_parts++] = part;
#if PG_VERSION_NUM < 150000
	request(part);
#endif
}
