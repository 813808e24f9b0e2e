/*
 * commit.h - a Commit, as commit.c and commit_unary.c see it.
 */
#ifndef NORIKV_COMMIT_H
#define NORIKV_COMMIT_H

#include "write.h"

#include <stdio.h>

typedef struct commit_lane
{
	nk_write	write;			/* must stay first */
	size_t		operation;
	bool		busy;
} commit_lane;

typedef struct commit_call
{
	norikv_call call;
	nk_rpc		rpc;
	bool		atomic;
	bool		own_key;		/* the caller's idempotency key, not a slot's */
	char		key[NK_IDEMPOTENCY_KEY_SIZE];
	size_t		n_operations;
	bool		checks_vectors; /* not every server does */
	bool		deletes_vectors;	/* ranges of them */

	/* The stream. */
	grpc_byte_buffer **chunks;
	size_t		n_chunks;
	size_t		next_chunk;
	norikv_operation_result *results;
	size_t		received;
	bool		applied;

	/* Without a Commit on the server: one chunk after the other, unpacked. */
	commit_lane *lanes;
	uint32_t	n_lanes;
	wire_arena	chunk_arena;
	Norikv__Ext__V1__CommitRequest *chunk;
	size_t		chunk_first;	/* the operation it begins with */
	size_t		next_operation; /* within it */
	size_t		in_flight;
} commit_call;

/* Sends the operations one by one; ends the call when all are answered. */
extern void nk_commit_unary(commit_call *commit);
extern void nk_commit_unary_abandon(commit_call *commit);
extern void nk_commit_fail_first(commit_call *commit);

#endif
