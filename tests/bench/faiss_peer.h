/*
 * faiss_peer.h - faiss, called in this process: exact search over a flat index, which
 * also says what is right, and its HNSW.
 */
#ifndef NORIKV_BENCH_FAISS_PEER_H
#define NORIKV_BENCH_FAISS_PEER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C"
{
#endif

typedef struct faiss_peer faiss_peer;

/* m and ef_construction of 0: a flat index, exact. */
extern faiss_peer *faiss_peer_create(uint32_t dimensions, unsigned m,
									 unsigned ef_construction);
extern void faiss_peer_add(faiss_peer *peer, const float *vectors, size_t n,
						   unsigned threads);
extern void faiss_peer_set_ef(faiss_peer *peer, size_t ef);
/* Labels of the k nearest of each query, the nearest first. */
extern void faiss_peer_search(faiss_peer *peer, const float *queries, size_t n, size_t k,
							  uint32_t *labels, unsigned threads);
extern void faiss_peer_destroy(faiss_peer *peer);

#ifdef __cplusplus
}
#endif

#endif
