/*
 * call.h - one call: its request, what it sends back, and its end.
 *
 * A call is counted: one count for the method that serves it, given back by
 * call_answer() and its like when the status has gone out; one for each thing
 * that may still happen to it.
 *
 * A batch is started from whichever thread has the answer. At most one send is
 * under way in a call at a time.
 */
#ifndef NORIKVD_CALL_H
#define NORIKVD_CALL_H

#include "server.h"
#include "wire.h"

typedef void (*call_handler) (call *self, bool ok);

struct call
{
	server	   *server;
	server_queue *queue;
	const method *method;		/* NULL: a method that we do not have */
	void	   *registered;
	grpc_call  *grpc;
	gpr_timespec deadline;
	grpc_metadata_array metadata;
	grpc_byte_buffer *request;	/* the first message; a stream's are read */

	atomic_int	count;
	atomic_bool closed;			/* the caller is gone, or the deadline */
	int			cancelled;
	bool		watching;		/* closing is under way, or was */
	server_event arrived;
	server_event closing;
	server_event sent;
	server_event received;
	server_event later;
	call_handler on_sent;		/* NULL: the call is over when it has been sent */
	call_handler on_received;
	call_handler on_later;
	grpc_byte_buffer *sending;
	bool		initial_metadata_sent;

	wire_arena	arena;			/* the request, unpacked, and the like */
	void	   *state;			/* the method's own */
	void		(*free_state) (void *state);
	bounds_peer *peer;
	size_t		staged;			/* taken from the peer's share */
	size_t		in_flight;		/* taken from what is in flight */

	/* In the queue's list of calls that wait for their client. */
	unsigned	waits;			/* sends and receives under way, by the queue's lock */
	uint64_t	waiting_since_ms;
	bool		dropped;		/* it has waited too long */
	call	   *waiting_previous;
	call	   *waiting_next;
	/* In the queue's list of open calls. */
	call	   *open_previous;
	call	   *open_next;

	struct call_unknown *unknown;	/* the catch-all's details */
};

/* ---- For server.c ---- */

/* Posts a request for one more call; method NULL: any that is not registered. */
extern void call_post(server_queue *queue, const method *which, void *registered);

/* Runs the method's drain() on the call's thread. */
extern void call_drain(call *self);

/* ---- For methods ---- */

/* The method is done with it. */
extern void call_release(call *self);

/* The request unpacked, or NULL after an answer that says what is wrong. */
extern void *call_unpack(call *self, const ProtobufCMessageDescriptor *descriptor);

/* The caller's authorization metadata; empty where there is none. */
extern engine_slice call_credential(const call *self);

/* The caller is gone, or its deadline has passed. Any thread. */
extern bool call_is_over(call *self);
extern bool call_deadline_passed(const call *self);

/*
 * Both count memory until the call is freed. The first is false where it is more
 * than this connection, or all of them, may have staged.
 */
extern bool call_stage_memory(call *self, size_t size);
/* False, after UNAVAILABLE as the answer, where too much is in flight. */
extern bool call_take_memory(call *self, size_t size);

/* One message and OK: the whole answer in one batch. */
extern void call_answer(call *self, const ProtobufCMessage *message);
/* The same for bytes already packed; the buffer is the call's from here on. */
extern void call_answer_buffer(call *self, grpc_byte_buffer *buffer);
/* A status and nothing else. */
extern void call_fail(call *self, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
extern void call_fail_text(call *self, int code, const char *text);

/* One message of a stream; on_sent runs on the call's thread when it has gone. */
extern void call_send(call *self, grpc_byte_buffer *buffer, call_handler on_sent);
/* Reads one more message into *message, NULL at the end of the caller's stream. */
extern void call_receive(call *self, grpc_byte_buffer **message,
						 call_handler on_received);
/*
 * Runs the handler on the call's thread after what is already waiting there. Not
 * for methods with drain().
 */
extern void call_later(call *self, call_handler on_later);
/* Ends the call without the caller's agreement. Any thread. */
extern void call_cancel(call *self);

/* Milliseconds since some instant: for durations only. */
extern uint64_t call_clock_ms(void);

#endif
