/*
 * hnswlib_peer.cc - the C++ that the benchmark's peer is written in.
 */
#include "hnswlib_peer.h"

#include <memory>

#include <hnswlib/hnswlib.h>

struct hnswlib_peer
{
	std::unique_ptr<hnswlib::SpaceInterface<float>> space;
	std::unique_ptr<hnswlib::HierarchicalNSW<float>> graph;
};

hnswlib_peer *
hnswlib_peer_create(int inner_product, uint32_t dimensions, size_t n, unsigned m,
					unsigned ef_construction)
{
	auto	   *peer = new hnswlib_peer;

	if (inner_product)
		peer->space = std::make_unique<hnswlib::InnerProductSpace>(dimensions);
	else
		peer->space = std::make_unique<hnswlib::L2Space>(dimensions);
	peer->graph = std::make_unique<hnswlib::HierarchicalNSW<float>>(
		peer->space.get(), n, m, ef_construction);
	return peer;
}

void
hnswlib_peer_add(hnswlib_peer *peer, const float *vector, size_t label)
{
	static_cast<hnswlib::AlgorithmInterface<float> *>(peer->graph.get())
		->addPoint(vector, label);
}

void
hnswlib_peer_set_ef(hnswlib_peer *peer, size_t ef)
{
	peer->graph->setEf(ef);
}

size_t
hnswlib_peer_search(hnswlib_peer *peer, const float *query, size_t k, uint32_t *labels)
{
	auto		found = peer->graph->searchKnn(query, k);
	size_t		n = 0;

	for (; !found.empty(); found.pop())
		labels[n++] = (uint32_t) found.top().second;
	return n;
}

void
hnswlib_peer_destroy(hnswlib_peer *peer)
{
	delete peer;
}
