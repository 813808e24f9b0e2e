/*
 * fake.h - what the parts of the fake server share.
 */
#ifndef FAKE_H
#define FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include "fake_store.h"
#include "wire.h"

#define FAKE_MAX_REPLIES 1024
#define FAKE_MAX_NODES 16

typedef enum stage
{
	AWAITED,					/* no call yet */
	READING,
	LATE,						/* answered when due */
	WRITING,
	CLOSING						/* the status is on its way, or never comes */
} stage;

typedef struct served
{
	stage		stage;
	grpc_call  *call;
	grpc_call_details details;
	grpc_metadata_array metadata;
	grpc_byte_buffer *message;
	grpc_byte_buffer *requests[FAKE_MAX_REPLIES];
	size_t		n_requests;
	grpc_byte_buffer *replies[FAKE_MAX_REPLIES];
	size_t		n_replies;
	size_t		sent;
	grpc_status_code status;
	const char *text;
	bool		stay_open;		/* a stream without an end */
	bool		silent;			/* never answered */
	bool		unwritten;		/* the second step of a slow write */
	int			cancelled;
	int64_t		due;
	struct served *next;		/* in late */
} served;

/* What the command line asks for. Counts go down to 0; -1 is for ever. */
typedef struct fake_options
{
	const char *listen;
	int			ext;
	const char *capabilities;
	int			absent_not_found;
	int			creates;		/* if_match of no version: only where there is no key */
	int			not_leader_ms;
	int			not_leader;
	int			hang;
	int			lose;
	int			timeout_expired;
	int			commit_timeout;
	int			garbage;
	int			garbage_batch;	/* of MultiGet only */
	int			empty;
	int			die;
	int			break_stream;
	int			delay_ms;
	int			cas_gap_ms;
	int			other_put_version;
	int			ignore_delete_condition;
	int			too_large;
	int			chunk;
	int			max_age_ms;
	int			shards;
	int			not_serving;
	int			vectors;
	const char *nodes[FAKE_MAX_NODES];
	int			n_nodes;
} fake_options;

extern fake_options options;
extern int64_t started;

/* CLOCK_MONOTONIC */
extern int64_t now_ms(void);
/* ---- fake_answers.c ---- */

extern bool is_method(const served *call, const char *path);
extern void reply(served *call, const ProtobufCMessage *message);
/* The call's request is there: makes its answer, or decides that there is none. */
extern void handle(served *call);

/* ---- fake_vectors.c ---- */

/* False: it has no such method. */
extern bool handle_vector(served *call, wire_arena *arena);

#endif
