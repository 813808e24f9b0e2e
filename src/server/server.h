/*
 * server.h - norikvd's gRPC server: completion queues, the threads that poll
 * them, posted requests, and the way down.
 *
 * A call belongs to one queue, and the queue to one thread: events of one call
 * never run at the same time. Only the engine's callbacks may run beside them.
 */
#ifndef NORIKVD_SERVER_H
#define NORIKVD_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include "bounds.h"
#include "engine.h"

#define NORIKVD_NAME "norikvd"
#define NORIKVD_VERSION "0.1.0"

typedef struct call call;
typedef struct server server;

typedef struct method
{
	const char *name;
	bool		client_streams; /* start() reads its messages itself */
	/* Learns at once when the caller is gone: writes and streams. */
	bool		watched;
	unsigned	posted;			/* requests kept posted on each queue */
	/* Runs on the call's thread, must not block. */
	void		(*start) (call *self);
	/*
	 * Runs on the call's thread when the server is about to go, and when the
	 * caller is gone, for watched calls that would otherwise stay open: perhaps
	 * both, perhaps when the call is about to end. NULL: it ends by itself.
	 */
	void		(*drain) (call *self);
	/* Answers also what comes while the server goes down, and says so itself. */
	bool		serves_draining;
} method;

/* What a completion queue hands back: the tag of every batch is one of these. */
typedef struct server_event
{
	void		(*handle) (void *owner, bool ok);
	void	   *owner;
} server_event;

typedef struct server_queue
{
	server	   *owner;
	grpc_completion_queue *queue;
	pthread_t	thread;
	pthread_mutex_t lock;		/* of both lists */
	/* Calls that wait for their client, the one that waits longest first. */
	call	   *waiting_first;
	call	   *waiting_last;
	/* Calls whose method has drain(). */
	call	   *open;
} server_queue;

typedef struct server_options
{
	engine	   *engine;
	uint64_t	max_staged;		/* bytes of Commits that are not complete */
	uint64_t	max_in_flight;	/* bytes of other requests and of answers */
	bool		absent_not_found;
	unsigned	threads;
	unsigned	stall_timeout_ms;
} server_options;

struct server
{
	server_options options;
	engine	   *engine;
	bounds	   *staged;
	bounds	   *in_flight;
	grpc_server *grpc;
	grpc_server_credentials *credentials;
	void	  **registered;		/* one for each of server_methods */
	server_queue *queues;
	unsigned	n_queues;
	_Atomic(const char *) advertised;	/* our address in the cluster view */
	atomic_bool draining;
	atomic_uint_fast64_t refused_at_ms; /* when the last call came that was too late */
	atomic_uint_fast64_t n_calls;	/* arrived and not yet freed */
	server_event shutdown_event;
	atomic_bool shut_down;
};

/* Every method that is served; NULL ends the list. */
extern const method *const server_methods[];

extern server *server_new(const server_options *options);

extern void server_start(server *self, const char *advertised);

/* Another address for the cluster view, which lives as long as the server. */
extern void server_advertise(server *self, const char *address);

/* One more connection, which is the server's from here on. Any thread. */
extern void server_connect(server *self, int fd);

/* Cancels calls that have waited too long for their client. Call it often. */
extern void server_drop_stalled(server *self);

/*
 * Tells those who watch, ends the streams, goes on with what was begun, and answers
 * what comes from here on with UNAVAILABLE, nothing done. Does not wait.
 */
extern void server_drain(server *self);
/*
 * Disconnects everybody who is left. Calls that are on their way even then are
 * CANCELLED by gRPC, which tells their callers nothing about them.
 */
extern void server_disconnect(server *self);
/* After server_drain(): no call is left. */
extern bool server_idle(server *self);
/* After server_drain(): for a while nobody has called. */
extern bool server_is_quiet(server *self);
/* After server_disconnect(): nothing is left, server_free() may be called. */
extern bool server_is_down(server *self);
extern void server_free(server *self);

#endif
