/*
 * write.h - one Put or Delete, alone or as a part of a batch.
 */
#ifndef NORIKV_WRITE_H
#define NORIKV_WRITE_H

#include "internal.h"

typedef struct nk_write
{
	nk_rpc		rpc;			/* must stay first */
	norikv_operation operation; /* its value only where emulate.c needs it */
	norikv_operation_result result;
	wire_arena *arena;			/* for answers */
	int			step;			/* of emulate.c; 0: as the server does it */
	uint32_t	generation;		/* of a create */
	const char *own_key;		/* the caller's idempotency key, for emulate.c */
	/* rpc.error and result say how it went. */
	void		(*finished) (struct nk_write *write);
} nk_write;

/*
 * Starts it. The operation's key must stay until it has finished; the value is
 * packed now. Where key is NULL a slot's is used; false when out of memory.
 */
extern bool nk_write_start(nk_write *write, norikv_client *client, norikv_call *call,
						   wire_arena *arena, void (*finished)(nk_write *write),
						   const norikv_operation *operation,
						   const char *idempotency_key);
extern bool nk_write_message(nk_rpc *rpc, grpc_byte_buffer *message);
extern grpc_byte_buffer *nk_write_request(const norikv_operation *operation,
										  const char *idempotency_key);
extern void nk_write_take_result(nk_rpc *rpc,
								 const Norikv__Ext__V1__OperationResult *result);
extern void nk_write_finish(nk_write *write);

/* ---- vector.c: one vector, as a part of a batch ---- */

extern const nk_rpc_type nk_vector_insert_type;
extern const nk_rpc_type nk_vector_delete_type;
extern grpc_byte_buffer *nk_vector_request(const norikv_operation *operation,
										   const char *idempotency_key);

/* ---- commit.c ---- */

/* to, and the version it may point to, show the operation's own bytes. */
extern void nk_pack_operation(const norikv_operation *from,
							  Norikv__Ext__V1__Operation *to,
							  Norikv__V1__Version *version);

/* ---- emulate.c: conditions that the server does not know ---- */

extern const nk_rpc_type nk_create_type;
extern const nk_rpc_type nk_conditional_delete_type;

#endif
