/*
 * hnswlib_peer.h - hnswlib itself, called in this process: what vector_bench measures
 * norikvd's index against.
 */
#ifndef NORIKV_BENCH_HNSWLIB_PEER_H
#define NORIKV_BENCH_HNSWLIB_PEER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C"
{
#endif

typedef struct hnswlib_peer hnswlib_peer;

extern hnswlib_peer *hnswlib_peer_create(int inner_product, uint32_t dimensions, size_t n,
										 unsigned m, unsigned ef_construction);
extern void hnswlib_peer_add(hnswlib_peer *peer, const float *vector, size_t label);
extern void hnswlib_peer_set_ef(hnswlib_peer *peer, size_t ef);
/* Labels of the k nearest, the farthest first; how many. */
extern size_t hnswlib_peer_search(hnswlib_peer *peer, const float *query, size_t k,
								  uint32_t *labels);
extern void hnswlib_peer_destroy(hnswlib_peer *peer);

#ifdef __cplusplus
}
#endif

#endif
