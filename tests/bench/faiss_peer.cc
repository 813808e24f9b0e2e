/*
 * faiss_peer.cc - the C++ that the benchmark's peer is written in.
 */
#include "faiss_peer.h"

#include <algorithm>
#include <memory>
#include <vector>

#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <omp.h>

/* From 20 queries on faiss multiplies matrices, which takes a BLAS that is fast. */
static const size_t AT_A_TIME = 16;

struct faiss_peer
{
	std::unique_ptr<faiss::Index> index;
	faiss::IndexHNSW *graph = nullptr;
};

faiss_peer *
faiss_peer_create(uint32_t dimensions, unsigned m, unsigned ef_construction)
{
	auto	   *peer = new faiss_peer;

	if (m == 0)
	{
		peer->index = std::make_unique<faiss::IndexFlatL2>(dimensions);
		return peer;
	}
	peer->graph = new faiss::IndexHNSWFlat((int) dimensions, (int) m, faiss::METRIC_L2);
	peer->graph->hnsw.efConstruction = (int) ef_construction;
	peer->index.reset(peer->graph);
	return peer;
}

void
faiss_peer_add(faiss_peer *peer, const float *vectors, size_t n, unsigned threads)
{
	omp_set_num_threads((int) threads);
	peer->index->add((faiss::Index::idx_t) n, vectors);
}

void
faiss_peer_set_ef(faiss_peer *peer, size_t ef)
{
	peer->graph->hnsw.efSearch = (int) ef;
}

void
faiss_peer_search(faiss_peer *peer, const float *queries, size_t n, size_t k,
				  uint32_t *labels, unsigned threads)
{
	std::vector<float> distances(n * k);
	std::vector<faiss::Index::idx_t> found(n * k);

	omp_set_num_threads((int) threads);
	for (size_t at = 0; at < n; at += AT_A_TIME)
		peer->index->search((faiss::Index::idx_t) std::min(AT_A_TIME, n - at),
							queries + at * (size_t) peer->index->d,
							(faiss::Index::idx_t) k, distances.data() + at * k,
							found.data() + at * k);
	for (size_t i = 0; i < n * k; i++)
		labels[i] = (uint32_t) found[i];
}

void
faiss_peer_destroy(faiss_peer *peer)
{
	delete peer;
}
