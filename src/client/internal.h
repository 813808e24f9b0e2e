/*
 * internal.h - what the files of libnorikv share.
 *
 * Three things carry a request:
 *
 * - norikv_call is what the caller started: a Get, a MultiGet, a Scan.
 * - nk_rpc is one request of it to one server, with its retries. A Get has one;
 *   a MultiGet has a few that work side by side.
 * - nk_node is one server address with its channel.
 *
 * All memory that gRPC writes to belongs to an nk_rpc, comes from malloc, and
 * is given back only after the completion queue has returned every batch of it:
 * "in flight" (batches > 0) and "ended" are different states, and nothing here
 * confuses a caller who has lost interest with a batch that has completed.
 */
#ifndef NORIKV_INTERNAL_H
#define NORIKV_INTERNAL_H

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <grpc/support/log.h>

#include "health.pb-c.h"
#include "norikv.h"
#include "norikv.pb-c.h"
#include "norikv_ext.pb-c.h"
#include "prefix.h"
#include "wire.h"
#include "words.h"

#define NK_BACKOFF_FIRST_MS 10
#define NK_BACKOFF_LARGEST_MS 1000
#define NK_MAX_RECEIVE (16 * 1024 * 1024)
#define NK_MAX_NODES 64
#define NK_DRAIN_MS 1000

/* Microseconds of CLOCK_MONOTONIC. */
typedef int64_t nk_time;

#define NK_NEVER INT64_MAX

typedef struct nk_rpc nk_rpc;
typedef struct nk_node nk_node;
typedef struct nk_group nk_group;

/* ---- timer.c: what is due when ---- */

typedef struct nk_timer
{
	nk_time		due;
	size_t		position;		/* in the heap, from 1; 0: not set */
} nk_timer;

typedef struct nk_timers
{
	nk_timer  **heap;
	size_t		count;
	size_t		capacity;
} nk_timers;

extern nk_time nk_now(void);
extern gpr_timespec nk_timespec(nk_time time);
/* False when out of memory. */
extern bool nk_timer_set(nk_timers *timers, nk_timer *timer, nk_time due);
extern void nk_timer_clear(nk_timers *timers, nk_timer *timer);
/* The timer due first, or NULL. */
extern nk_timer *nk_timers_first(const nk_timers *timers);
extern void nk_timers_free(nk_timers *timers);

/* ---- slots.c: idempotency keys of the client's own ---- */

#define NK_UUID_SIZE 36
#define NK_SLOT_KEY_SIZE (sizeof(WIRE_SLOT_KEY_PREFIX) + NK_UUID_SIZE + 2 * 21)
#define NK_NO_SLOT UINT32_MAX

typedef struct nk_slots
{
	char		uuid[NK_UUID_SIZE + 1];
	uint64_t   *sequence;		/* the last number used, by slot */
	uint32_t   *idle;			/* slots without a request, last used on top */
	uint32_t	n_idle;
	uint32_t	n_slots;
	uint32_t	capacity;
} nk_slots;

extern bool nk_slots_init(nk_slots *slots);
extern void nk_slots_free(nk_slots *slots);
/*
 * Takes a slot that has no request under way and writes the key of its next
 * request. NK_NO_SLOT when out of memory.
 */
extern uint32_t nk_slot_take(nk_slots *slots, char key[NK_SLOT_KEY_SIZE]);
extern void nk_slot_give_back(nk_slots *slots, uint32_t slot);

/* ---- address.c: the nodes option ---- */

typedef struct nk_address
{
	char		name[256];		/* as configured, for messages and comparison */
	char		target[512];	/* for gRPC */
	bool		local;			/* a unix socket */
} nk_address;

/*
 * Up to max addresses from a nodes string; their number, or -1 with *error set.
 */
extern int	nk_addresses_parse(const char *nodes, nk_address *addresses, int max,
							   norikv_error *error);

/* ---- node.c: a server and its channel ---- */

typedef enum nk_method
{
	NK_PUT,
	NK_GET,
	NK_DELETE,
	NK_WATCH_CLUSTER,
	NK_INFO,
	NK_MULTI_GET,
	NK_COMMIT,
	NK_SCAN,
	NK_WATCH,
	NK_SET_QUOTA,
	NK_USAGE,
	NK_HEALTH,
	NK_VECTOR_CREATE_INDEX,
	NK_VECTOR_DROP_INDEX,
	NK_VECTOR_INSERT,
	NK_VECTOR_DELETE,
	NK_VECTOR_SEARCH,
	NK_VECTOR_GET,
	NK_VECTOR_LIST,
	NK_VECTOR_MULTI_GET,
	NK_VECTOR_EXT_SEARCH,
	NK_VECTOR_SCAN,
	NK_METHODS
} nk_method;

extern const char *const nk_method_paths[NK_METHODS];

typedef enum nk_known
{
	NK_UNKNOWN,
	NK_NO,
	NK_YES
} nk_known;

/* What Info says that decides how a request is made. */
typedef struct nk_abilities
{
	nk_known	known;			/* NK_NO: the server has no norikv.ext.v1 */
	bool		atomic_cas;
	bool		create;
	bool		conditional_delete;
	bool		durable;
	bool		keepalive;
	bool		batch;
	bool		vector_checks;
	bool		vector_ranges;
	uint64_t	multi_get_keys;
} nk_abilities;

/* Requests of calls that were started since the last poll, in their order. */
typedef struct nk_gathered
{
	nk_rpc	   *first;
	nk_rpc	  **last;			/* where the next one is hung */
	size_t		count;
} nk_gathered;

struct nk_node
{
	norikv_client *client;
	nk_address	address;
	grpc_channel *channel;		/* NULL until the first call */
	void	   *methods[NK_METHODS];
	bool		watching;		/* a connectivity watch is in the queue */
	bool		with_keepalive; /* the channel's arguments */
	nk_rpc	   *waiting;		/* for the connection, or for abilities */
	nk_gathered reads;
	nk_gathered writes;
	uint32_t	silent;			/* attempts in a row that ended by their timeout */
	nk_abilities abilities;
	nk_rpc	   *probe;			/* asks for abilities */
	nk_rpc	   *inquiry;		/* asks gRPC why there is no connection */
	nk_time		away_until;		/* it failed: not the first choice before */
};

extern void nk_node_init(nk_node *node, norikv_client *client, const nk_address *address);
extern void nk_node_close(nk_node *node);
/* Whether a call can be started now; otherwise the node has begun to connect. */
extern bool nk_node_ready(nk_node *node);
extern void nk_node_watch_event(nk_node *node, bool success);
extern void nk_node_add_waiting(nk_node *node, nk_rpc *rpc);
extern void nk_node_remove_waiting(nk_node *node, nk_rpc *rpc);
/* Those that wait try again, or hear that this node is not to be had. */
extern void nk_node_wake(nk_node *node);
extern void nk_node_fail_waiting(nk_node *node, const char *why);
/* Leaves a connection on which nothing answers; calls on it end by themselves. */
extern void nk_node_reconnect(nk_node *node);

/* ---- inquiry.c: why a node cannot be reached ---- */

/* Those that wait for the node fail with the reason, once it is known. */
extern void nk_inquire(nk_node *node);
extern void nk_inquiry_free(nk_node *node);

/* ---- abilities.c: what a node's server can do ---- */

extern void nk_abilities_from_info(nk_abilities *abilities,
								   const Norikv__Ext__V1__InfoResponse *info);
/* Asks the node; the requests that wait for the answer go on when it is there. */
extern void nk_abilities_ask(nk_node *node);
/* They are known now: what follows for the connection. */
extern void nk_abilities_known(nk_node *node);
extern void nk_abilities_forget(nk_node *node);
extern void nk_abilities_free(nk_node *node);

/* ---- rpc.c: one request, its attempts ---- */

typedef enum nk_shape
{
	NK_UNARY,					/* one batch of six operations */
	NK_SERVER_STREAM,			/* one request, many answers */
	NK_CLIENT_STREAM			/* many requests, then many answers */
} nk_shape;

typedef enum nk_rpc_state
{
	NK_RPC_IDLE,
	NK_RPC_WAITING,				/* for a connection, or for abilities */
	NK_RPC_BACKOFF,
	NK_RPC_GATHERED,			/* until the next poll */
	NK_RPC_CARRIED,				/* by a group's request */
	NK_RPC_IN_FLIGHT
} nk_rpc_state;

/* How a kind of request behaves. */
typedef struct nk_rpc_type
{
	nk_method	method;
	nk_shape	shape;
	bool		write;
	/* Held back until it is known what the server can do. */
	bool		needs_abilities;
	/* May travel with others of its kind that are started together. */
	bool		gathers;
	/* Makes the request when it is sent alone, where it was not given at the start. */
	grpc_byte_buffer *(*pack) (const nk_rpc *rpc);
	/* A group's answer to this one. False: out of memory. */
	bool		(*take_entry) (nk_rpc *rpc, const Norikv__Ext__V1__Entry *entry);
	void		(*take_result) (nk_rpc *rpc,
								const Norikv__Ext__V1__OperationResult *result);
	/* A request of the client's own has gone out once more. */
	void		(*sent) (nk_rpc *rpc);
	/* An attempt has completed: instead of what retry.c would do about it. */
	void		(*attempt_over) (nk_rpc *rpc);
	/*
	 * An attempt is about to start on rpc->node, abilities known if needed. May
	 * make rpc->request anew; false: the request ended here, with rpc->error.
	 */
	bool		(*prepare) (nk_rpc *rpc);
	/* A message came. False: it cannot be one of this server's answers. */
	bool		(*message) (nk_rpc *rpc, grpc_byte_buffer *message);
	/* NK_CLIENT_STREAM: the next message to send, which stays the owner's. */
	grpc_byte_buffer *(*next_request) (nk_rpc *rpc, bool *last);
	/* All is over: rpc->error says how. May free the rpc or start it again. */
	void		(*ended) (nk_rpc *rpc);
} nk_rpc_type;

struct nk_rpc
{
	nk_timer	timer;			/* must stay first: timers are cast back */
	norikv_client *client;
	norikv_call *call;			/* NULL: a request of the client's own */
	const nk_rpc_type *type;
	nk_rpc_state state;
	nk_node    *node;
	nk_rpc	   *wait_next;		/* in node->waiting, or gathered */
	nk_rpc	  **wait_link;

	/* The request. */
	grpc_byte_buffer *request;	/* kept for further attempts */
	norikv_slice key;			/* of a request about one key: for routing and messages */
	bool		pinned;			/* to this node */
	bool		once;			/* no second attempt */
	bool		alone;			/* not again in a group */
	bool		anyway;			/* also where the node is not ready */
	bool		patient;		/* a stream that may say nothing for ever */
	bool		endless;		/* tried again for ever */
	bool		unlimited;		/* a stream: no deadline of gRPC's, only the timer */
	uint32_t	slot;			/* NK_NO_SLOT: the caller's key, or a read */
	uint32_t	item;			/* for its owner */
	nk_time		deadline;
	uint32_t	attempt_timeout_ms;
	nk_group   *group;			/* that carries it */
	uint32_t	place;			/* in the group */

	/* Its attempts. */
	uint32_t	attempts;		/* that were sent */
	uint32_t	tries;			/* sent or not */
	bool		maybe_applied;	/* an earlier attempt was sent and lost */
	bool		abandoned;		/* the owner has gone: end without a word */
	bool		timed_out;		/* the timer ended the attempt */
	bool		garbage;		/* a message could not be read */
	bool		paused;			/* no message is asked for until the reader wants it */
	bool		progressed;		/* a message came in this attempt */
	bool		from_server;	/* metadata came with the status */

	/* What gRPC writes to. */
	grpc_call  *grpc;
	uint32_t	batches;		/* that gRPC has not completed yet */
	grpc_byte_buffer *sending;	/* a copy, while it is sent */
	grpc_byte_buffer *response;
	grpc_metadata_array initial_metadata;
	grpc_metadata_array trailing_metadata;
	grpc_status_code status;
	grpc_slice	details;

	const char *detail;			/* in error.text: the status's own words */
	norikv_error error;
};

/* Batches are told apart by the low bits of their tags. */
#define NK_TAG_STATUS 0			/* an nk_rpc: the whole of a unary call, or the status */
#define NK_TAG_MESSAGE 1		/* an nk_rpc: a message, or the end of them */
#define NK_TAG_SEND 2			/* an nk_rpc: a message is out */
#define NK_TAG_LAST_SEND 3		/* an nk_rpc: the last message is out */
#define NK_TAG_WATCH 4			/* an nk_node: connectivity has changed */
#define NK_TAG_BITS 7			/* malloc aligns to 16 */

extern void nk_rpc_init(nk_rpc *rpc, norikv_client *client, norikv_call *call,
						const nk_rpc_type *type);
/* Takes the request. */
extern void nk_rpc_start(nk_rpc *rpc, grpc_byte_buffer *request, nk_time deadline);
extern void nk_rpc_try(nk_rpc *rpc);
/* Sends it, on its node, which is ready. */
extern void nk_rpc_send(nk_rpc *rpc);
extern void nk_rpc_event(nk_rpc *rpc, uintptr_t tag, bool success);
extern void nk_rpc_timer(nk_rpc *rpc);
/* A paused stream asks for its next message. */
extern void nk_rpc_resume(nk_rpc *rpc, nk_time deadline);
/* Ends it without a call of ended(); true: at once, false: batches are still out. */
extern bool nk_rpc_abandon(nk_rpc *rpc);
/* The completed attempt's memory of gRPC. */
extern void nk_rpc_drop_attempt(nk_rpc *rpc);
/* What start took. */
extern void nk_rpc_release(nk_rpc *rpc);
/* Ends an rpc that is not in flight, with the error set. */
extern void nk_rpc_end(nk_rpc *rpc);
/* Its deadline has passed before it was sent again, or at all. */
extern void nk_rpc_too_late(nk_rpc *rpc);

/* ---- retry.c: what follows an attempt ---- */

typedef enum nk_verdict
{
	NK_VERDICT_DONE,			/* the server answered, well or not: that is it */
	NK_VERDICT_REFUSED,			/* not executed; another attempt may succeed */
	NK_VERDICT_LOST				/* sent, and no telling what became of it */
} nk_verdict;

/* The verdict on a completed attempt, by its status and who made it. */
extern nk_verdict nk_judge(grpc_status_code status, const char *text, size_t size,
						   bool from_server);
/*
 * The pause before the nth further round, from 0, in microseconds: between half
 * and all of 20 ms doubled n times, 1 s at most.
 */
extern nk_time nk_backoff(uint32_t n, uint64_t random);
extern nk_verdict nk_attempt_verdict(const nk_rpc *rpc);
/* Whether the connection is still alive, as far as this attempt shows. */
extern void nk_note_silence(nk_rpc *rpc);
/* An attempt has completed: finish, or arrange for another one. */
extern void nk_retry_after_attempt(nk_rpc *rpc);
/* Another try, whatever the attempt's status was: it goes where the last one did not. */
extern void nk_retry_stream(nk_rpc *rpc);
/* A node could not be reached: the next one. why NULL: in time. */
extern void nk_retry_unreachable(nk_rpc *rpc, const char *why);

/* ---- group.c: calls that are started together travel together ---- */

/* It goes with the next poll. */
extern void nk_gather(nk_rpc *rpc);
/* All that were gathered go now. */
extern void nk_gathered_send(norikv_client *client);
extern void nk_gathered_remove(nk_rpc *rpc);
/* Leaves the group; the others do not notice. */
extern void nk_group_leave(nk_rpc *member);

/* ---- error.c ---- */

extern void nk_error_clear(norikv_error *error);
extern void nk_error_set(norikv_error *error, norikv_code code, const char *format, ...)
			__attribute__((format(printf, 3, 4)));
/* The error of a status that ended the request. */
extern void nk_error_from_status(nk_rpc *rpc, nk_verdict verdict);
/* The error of the group's request, in the words of one of those it carried. */
extern void nk_error_share(nk_rpc *member, const nk_rpc *carrier);
/* No server was reached; why NULL: in time. */
extern void nk_error_unreachable(nk_rpc *rpc, const char *why);
/* WORDS_MISMATCH_FORMAT taken apart where it is one. */
extern void nk_error_parse_mismatch(norikv_error *error, const char *text, size_t size);
/* Whether a quota has refused it. */
extern bool nk_is_quota(norikv_code code, const char *text, size_t size);
/* A key for a message: printable bytes, the rest as \xNN, shortened. */
extern const char *nk_show_key(char *out, size_t out_size, norikv_slice key);

/* ---- call.c ---- */

typedef struct nk_call_type
{
	/* nk_rpc_abandon() for every rpc it has. */
	void		(*abandon) (norikv_call *call);
	/* Gives back what is neither in the call nor in its arena. */
	void		(*destroy) (norikv_call *call);
	bool		(*next) (norikv_call *call);	/* streams */
} nk_call_type;

struct norikv_call
{
	norikv_client *client;
	norikv_call *next;
	norikv_call **link;
	const nk_call_type *type;
	bool		done;
	bool		freed;			/* by the caller; gone when active is 0 */
	uint32_t	active;			/* rpcs with batches out */
	uint32_t	timeout_ms;
	nk_time		deadline;
	const char *consistency;	/* static: "", "eventual", "bounded_staleness" */
	norikv_error error;
	norikv_call_stats stats;
	wire_arena	arena;			/* what the call returns */

	/* What the accessors show. */
	const norikv_entry *entries;
	size_t		n_entries;
	const norikv_operation_result *results;
	size_t		n_results;
	const norikv_info *info;
	const norikv_cluster_view *view;
	uint64_t	count;
	bool		snapshot_moved;
	const norikv_vector *vectors;
	size_t		n_vectors;
	bool		exact;
	const norikv_vector_index *indexes;
	size_t		n_indexes;
	const norikv_changes *changes;
	bool		watching;
	const norikv_usage_counts *usage;
};

/* A call of at least sizeof(norikv_call) bytes; NULL when out of memory. */
extern void *nk_call_new(norikv_client *client, size_t size, const nk_call_type *type,
						 const norikv_call_options *options);
extern norikv_call *nk_call_no_memory(void);
/* Done, with the error of its only rpc. */
extern void nk_call_finish(norikv_call *call, const norikv_error *error);
/* Finishes with an error that has no rpc. */
extern void nk_call_fail(norikv_call *call, norikv_code code, const char *format, ...)
			__attribute__((format(printf, 3, 4)));
/* An rpc of the call has its batches back. */
extern void nk_call_rpc_back(norikv_call *call);
extern bool nk_check_key(norikv_call *call, norikv_slice key, int64_t operation);
extern bool nk_check_bound(norikv_call *call, const char *what, norikv_slice bound,
						   size_t limit, int64_t operation);
extern const char *nk_consistency(const char *name);
extern void nk_note_attempt(nk_rpc *rpc);
extern void nk_note_sent(nk_rpc *rpc, const grpc_byte_buffer *message);

/* ---- get.c, write.c: unary requests, also as parts of a batch ---- */

#define NK_TOMBSTONE "\xff\0norikv:tombstone\0\xff"
#define NK_IDEMPOTENCY_KEY_SIZE (WIRE_MAX_IDEMPOTENCY_KEY + 1)

/* What was unpacked; never NULL, so that callers may hand it to memcpy(). */
static inline norikv_slice
nk_bytes(ProtobufCBinaryData bytes)
{
	return (norikv_slice) {bytes.data != NULL ? bytes.data : (const void *) "", bytes.len};
}

extern grpc_byte_buffer *nk_get_request(norikv_slice key, const char *consistency);
/* Into entry, whose key stays; false: no GetResponse. */
extern bool nk_get_response(nk_rpc *rpc, wire_arena *arena, grpc_byte_buffer *message,
							norikv_entry *entry);
extern bool nk_check_operation(norikv_call *call, const norikv_operation *operation,
							   int64_t at);
extern void nk_result_from_error(norikv_operation_result *result,
								 const norikv_error *error);
/* The caller's idempotency key, if there is one. */
extern bool nk_idempotency_key(const norikv_client *client,
							   const norikv_call_options *options,
							   char key[NK_IDEMPOTENCY_KEY_SIZE]);

/* ---- route.c ---- */

extern uint64_t nk_key_hash(norikv_slice key);
extern uint32_t nk_jump_hash(uint64_t key, uint32_t buckets);
/* Where a request about this key (empty: about none) should go first. */
extern nk_node *nk_route(norikv_client *client, norikv_slice key);
/* The node to try after this one failed. */
extern nk_node *nk_route_next(norikv_client *client, nk_node *failed);
extern void nk_route_answered(norikv_client *client, nk_node *node);

/* ---- follow.c: who leads which shard ---- */

typedef struct nk_view
{
	nk_rpc	   *stream;			/* Meta.WatchCluster; NULL: not followed now */
	bool		unwanted;		/* the servers have no views */
	nk_time		next_try;
	uint32_t	n_shards;		/* 0: nothing that can be trusted is known */
	nk_node   **leaders;		/* by shard; NULL: unknown */
} nk_view;

/* A cluster seems to be there: its views are asked for, if they are not yet. */
extern void nk_follow(norikv_client *client);
/* Takes a view over as far as it can be trusted; false when out of memory. */
extern bool nk_follow_take(norikv_client *client, const Norikv__V1__ClusterView *view);
extern void nk_follow_free(norikv_client *client);

/* ---- client.c ---- */

struct norikv_client
{
	nk_view		view;
	norikv_options options;		/* strings are the client's own copies */
	char	   *authorization;	/* "Bearer ..." or NULL */
	nk_prefix	prefix;
	nk_node    *nodes;
	uint32_t	n_nodes;
	uint32_t	preferred;		/* index of the node that answered last */
	grpc_completion_queue *queue;
	nk_timers	timers;
	nk_slots	slots;
	norikv_call *calls;			/* all that are not gone */
	uint32_t	in_queue;		/* batches and watches that the queue will return */
	size_t		n_gathered;
	nk_group   *write_groups;	/* under way */
	size_t		n_orphans;		/* freed writes in these */
	uint32_t	n_watches;
	uint64_t	random;
	nk_time		wait_began;		/* the wait under way, or the last one */
	bool		closing;
};

extern uint64_t nk_random(norikv_client *client);

#endif
