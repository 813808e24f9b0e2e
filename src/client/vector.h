/*
 * vector.h - what the calls about vectors share.
 */
#ifndef NORIKV_VECTOR_CLIENT_H
#define NORIKV_VECTOR_CLIENT_H

#include "internal.h"

/* A namespace with the client's prefix, as protobuf wants it. */
typedef struct nk_space
{
	char		text[WIRE_MAX_NAMESPACE + 1];
} nk_space;

/* Each is false where it is wrong; the call has failed then. */
extern bool nk_space_set(nk_space *to, norikv_call *call, norikv_slice space,
						 int64_t operation);
extern bool nk_check_vector_id(norikv_call *call, norikv_slice id, int64_t operation);
extern bool nk_check_vector(norikv_call *call, const char *what, const float *vector,
							uint32_t dimensions, int64_t operation);

/* The id as protobuf wants it, in the arena; NULL when out of memory. */
extern char *nk_vector_id(wire_arena *arena, norikv_slice id);

/* UNIMPLEMENTED in words: the server has nothing of vectors. */
extern void nk_vector_no_service(nk_rpc *rpc);

#endif
