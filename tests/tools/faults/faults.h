/*
 * faults.h - the parts of the proxy: exchanges with clients, executions on the
 * server behind, and the faults between them.
 *
 * All of it runs on one thread, off one completion queue; only connections are
 * accepted on another. Exchanges, executions and requests are counted
 * references: one for each operation under way, timer and neighbour.
 */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <grpc/grpc.h>
#include <grpc/support/time.h>

/* What a request without a living client may take. */
#define ORPHAN_TIMEOUT_MS 30000

typedef struct fault_rate
{
	double		rate;
	uint32_t	ms;
} fault_rate;

typedef struct settings
{
	const char *listen;			/* path of the socket */
	const char *upstream;
	const char *only;			/* faults only where the method contains it */
	uint64_t	seed;
	fault_rate	drop_answer;
	fault_rate	delay_answer;
	fault_rate	delay_request;
	fault_rate	duplicate;
	fault_rate	cut;
	fault_rate	refuse;
	fault_rate	refuse_connection;
} settings;

typedef struct counts
{
	uint64_t	calls;
	uint64_t	executions;		/* calls made upstream */
	uint64_t	dropped_answers;
	uint64_t	delayed_answers;
	uint64_t	delayed_requests;
	uint64_t	duplicated;
	uint64_t	late;			/* executed after their client gave up */
	uint64_t	aborted;		/* executions that the server answered ABORTED */
	uint64_t	cut;
	uint64_t	refused;
} counts;

typedef enum cut_at
{
	CUT_NEVER,
	CUT_BEFORE,					/* never executed */
	CUT_DURING,					/* executed, the client is gone already */
	CUT_AFTER					/* executed and answered, into the void */
} cut_at;

/* What a completion queue's tag points to. */
typedef struct event
{
	void		(*handle) (void *of, bool ok);
	void	   *of;
} event;

/* A request as it came, shared by all its executions. */
typedef struct client_request
{
	int			references;
	grpc_slice	method;
	grpc_slice	authorization;
	bool		authorized;
	gpr_timespec deadline;
	grpc_byte_buffer **messages;
	size_t		n_messages;
} client_request;

/* A call that a client made here. */
typedef struct client_call
{
	int			references;
	grpc_call  *call;
	grpc_call_details details;
	grpc_metadata_array metadata;
	client_request *request;
	grpc_byte_buffer *incoming;
	struct server_call *execution;	/* whose answer this client waits for */
	int			cancelled;
	bool		gone;			/* nobody hears any more */
	bool		headers_sent;
	bool		drop_answer;
	bool		delay_request;
	bool		delay_answer;
	bool		duplicate;
	cut_at		cut;
	event		accepted;
	event		received;
	event		closed;
	event		sent;
	event		finished;
} client_call;

/* A call made upstream. */
typedef struct server_call
{
	int			references;
	struct server_call *next;
	struct server_call *previous;
	client_call *exchange;		/* NULL: nobody hears the answer */
	client_request *request;
	size_t		next_message;
	grpc_call  *call;
	grpc_metadata authorization;
	grpc_metadata_array initial_metadata;
	grpc_metadata_array trailing_metadata;
	grpc_byte_buffer *answer;
	grpc_status_code status;
	grpc_slice	details;
	bool		ended;
	bool		drained;		/* no more messages */
	bool		awaiting;		/* a message has been asked for */
	event		sent;
	event		answered;
	event		closed;
} server_call;

extern settings options;
extern counts counted;
extern grpc_completion_queue *queue;
extern grpc_server *server;
extern grpc_channel *channel;

/* ---- chance.c ---- */

extern bool happens(fault_rate fault, uint64_t *state);
extern uint64_t random_next(uint64_t *state);

extern gpr_timespec after_ms(uint32_t ms);
extern void timer_start(uint32_t ms, void (*handle) (void *of, bool ok), void *of);
/* Fires what is due, or everything with ok false where the proxy stops. */
extern void timers_fire(bool stopping);
/* When the next one is due, at the latest in a second. */
extern gpr_timespec timers_next(void);

/* ---- exchange.c ---- */

extern void exchange_init(void);
/* Takes one more call. */
extern void exchange_accept(void);
extern void exchange_release(client_call *exchange);
extern void exchange_finish(client_call *exchange, grpc_status_code status,
							grpc_slice *details, grpc_metadata_array *metadata);
extern void exchange_cut(client_call *exchange);
/* The operation for initial metadata, where it is still to be sent: 1, else 0. */
extern size_t exchange_headers(client_call *exchange, grpc_op *op);
extern int	exchanges_alive(void);

extern client_request *request_hold(client_request *request);
extern void request_release(client_request *request);

/* ---- execution.c ---- */

/*
 * Asks the server. With an exchange its client gets the answer; without one
 * nobody does, and the request waits for a server that is away.
 */
extern void execute(client_request *request, client_call *exchange,
					gpr_timespec deadline);
extern void execution_cancel(server_call *execution);
extern void executions_cancel(void);
extern bool executions_alive(void);

extern void start_batch(grpc_call *call, const grpc_op *ops, size_t n_ops, event *tag);

/* ---- listener.c ---- */

/* Accepts on the socket until SIGTERM or SIGINT, then shuts the server down. */
extern void listener_start(event *stopped);
extern void listener_join(void);

#endif
