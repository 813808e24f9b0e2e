/*
 * vector_graph.cc - hnswlib behind a C interface; the one C++ file of the program.
 *
 * What is hnswlib's: the layout of nodes and links, the choice of neighbours and the
 * linking of both sides (getNeighborsByHeuristic2, mutuallyConnectNewElement). What
 * version 0.6.2 lacks and is here:
 *
 * - a search with a beam width of its own, that knows which rows are dead, fetches a
 *   row's whole vector before it is needed, and whose memory is given back whatever
 *   happens;
 * - the entry point and its layer read as one: hnswlib reads one after the other, and
 *   can follow links of a layer that the old entry point does not have;
 * - layers drawn from the row's number rather than from a generator that threads
 *   share, so that a snapshot can check them;
 * - rows that the caller keeps, with the vectors in them: a label is the row's number.
 *
 * A search reads links while others are linked, without their locks, as in hnswlib.
 * Links are whole words, and each is a row that existed when it was written; so what
 * it can read is an old or a new neighbour.
 */
#define NO_MANUAL_VECTORIZATION
#include "vector_graph.h"
#include "vector_rows.h"

#include <algorithm>
#include <memory>
#include <new>

#include <hnswlib/hnswlib.h>

namespace {

using hnswlib::tableint;

constexpr uint64_t NO_ENTRY = UINT64_MAX;
constexpr size_t MAX_LINKS = 2 * VECTOR_MAX_M;
constexpr size_t LINE = 64;

/* What one search or link needs of memory; kept for the next one. */
struct Scratch
{
	std::vector<uint16_t> visited;	/* tag: seen by this search */
	uint16_t	tag = 0;
	vector_beam beam = {};
	Scratch    *next = nullptr;

	~Scratch() { vector_beam_free(&beam); }

	void begin(size_t capacity, size_t width)
	{
		if (!vector_beam_begin(&beam, width))
			throw std::bad_alloc();
		if (visited.size() < capacity)
		{
			std::vector<uint16_t>(capacity).swap(visited);
			tag = 0;
		}
		if (++tag == 0)
		{
			std::fill(visited.begin(), visited.end(), 0);
			tag = 1;
		}
	}

	void add(float distance, tableint slot, unsigned is)
	{
		if (!vector_beam_add(&beam, distance, slot, is))
			throw std::bad_alloc();
	}
};

class Space final : public hnswlib::SpaceInterface<float>
{
public:
	explicit Space(const vector_graph_options &options) : options_(options) {}
	size_t get_data_size() override { return sizeof(float); }
	hnswlib::DISTFUNC<float> get_dist_func() override { return options_.distance; }
	void *get_dist_func_param() override { return &options_.padded; }

private:
	vector_graph_options options_;
};

class Graph final : public hnswlib::HierarchicalNSW<float>
{
public:
	Graph(Space *space, const vector_graph_options &options)
		: HierarchicalNSW(space, 1, options.m, options.ef_construction),
		  point_size_(options.padded * sizeof(float))
	{
		size_data_per_element_ = options.row_size;
		offsetData_ = 0;
		offsetLevel0_ = options.links_offset;
		free(data_level0_memory_);
		data_level0_memory_ = nullptr;
		/* For updates in place, which never happen here: 2.6 MB. */
		std::vector<std::mutex>().swap(link_list_update_locks_);
		linkLists_[0] = nullptr;
	}

	/* The destructor of hnswlib frees the lists of cur_element_count rows. */
	~Graph()
	{
		data_level0_memory_ = nullptr;
		while (idle_ != nullptr)
		{
			Scratch    *scratch = idle_;

			idle_ = scratch->next;
			delete scratch;
		}
	}

	void grow(const vector_graph_rows &rows)
	{
		std::vector<std::mutex> locks(rows.capacity);
		char	  **lists;

		element_levels_.resize(rows.capacity);
		lists = (char **) realloc(linkLists_, sizeof(char *) * rows.capacity);
		if (lists == nullptr)
			throw std::bad_alloc();
		std::fill(lists + cur_element_count, lists + rows.capacity, nullptr);
		linkLists_ = lists;
		link_list_locks_.swap(locks);
		max_elements_ = cur_element_count = rows.capacity;
		data_level0_memory_ = rows.rows;
		rows_ = rows;
	}

	unsigned level(tableint slot) const
	{
		return vector_graph_level(slot, (uint32_t) M_);
	}

	void link(tableint slot);
	void search(const void *point, uint32_t ef, vector_near *found, uint32_t *n_found);
	void copy_links(tableint slot, unsigned layer, uint32_t end, uint32_t *links);
	bool restore(tableint slot, unsigned layer, uint32_t end, const uint32_t *links);
	void restored(uint32_t end, const uint8_t *skipped);
	uint64_t bytes() const;

private:
	/* Scratch memory for as long as this lives. */
	class Lease
	{
	public:
		explicit Lease(Graph &graph) : graph_(graph)
		{
			std::unique_lock<std::mutex> lock(graph_.idle_lock_);

			scratch_ = graph_.idle_;
			if (scratch_ != nullptr)
				graph_.idle_ = scratch_->next;
			else
			{
				scratch_ = new Scratch;
				graph_.scratches_.fetch_add(1, std::memory_order_relaxed);
			}
		}
		~Lease()
		{
			std::unique_lock<std::mutex> lock(graph_.idle_lock_);

			scratch_->next = graph_.idle_;
			graph_.idle_ = scratch_;
		}
		Lease(const Lease &) = delete;
		Lease &operator=(const Lease &) = delete;
		Scratch &operator*() const { return *scratch_; }

	private:
		Graph &graph_;
		Scratch *scratch_;
	};

	float distance(const void *point, tableint slot) const
	{
		return fstdistfunc_(point, getDataByInternalId(slot), dist_func_param_);
	}

	void fetch(tableint slot) const
	{
		const char *row = getDataByInternalId(slot);

		for (size_t at = 0; at < point_size_ && at < 16 * LINE; at += LINE)
			__builtin_prefetch(row + at);
	}

	/* Of layer 0, for the row that is looked at next unless a nearer one turns up. */
	void fetch_links(tableint slot) const
	{
		const char *links = getDataByInternalId(slot) + offsetLevel0_;

		for (size_t at = 0; at < (maxM0_ + 1) * sizeof(tableint); at += LINE)
			__builtin_prefetch(links + at);
	}

	bool live(tableint slot) const
	{
		return __atomic_load_n(&rows_.states[slot], __ATOMIC_RELAXED) & VECTOR_LIVE;
	}

	static size_t count(const hnswlib::linklistsizeint *list)
	{
		return __atomic_load_n((const uint16_t *) list, __ATOMIC_RELAXED);
	}

	template <bool linking>
	size_t neighbours(tableint slot, int layer, tableint *to);
	template <bool linking>
	tableint descend(const void *point, tableint from, int layer, int down_to);
	template <bool linking>
	void search_layer(const void *point, tableint from, int layer, size_t ef, Scratch &s);
	template <bool linking>
	void take(Scratch &s, float d, tableint slot) const;
	void allocate_upper(tableint slot, unsigned level);

	size_t		point_size_;
	vector_graph_rows rows_ = {};
	std::atomic<uint64_t> entry_{NO_ENTRY}; /* layer << 32 | slot */
	std::atomic<uint64_t> upper_bytes_{0};
	std::atomic<uint64_t> scratches_{0};
	std::mutex	idle_lock_;
	Scratch    *idle_ = nullptr;
};

/* One's neighbours, copied: who links holds the row's lock no longer than that. */
template <bool linking>
size_t
Graph::neighbours(tableint slot, int layer, tableint *to)
{
	std::unique_lock<std::mutex> lock(link_list_locks_[slot], std::defer_lock);
	const hnswlib::linklistsizeint *list;
	size_t		n;

	if (linking)
		lock.lock();
	list = get_linklist_at_level(slot, layer);
	n = std::min(count(list), MAX_LINKS);
	for (size_t i = 0; i < n; i++)
		to[i] = __atomic_load_n(&list[i + 1], __ATOMIC_RELAXED);
	return n;
}

/*
 * Walks to the nearest row of each layer above down_to. Here as below all distances
 * are there before any is looked at: a branch on one, which nobody can foresee, would
 * keep the others from being read meanwhile.
 */
template <bool linking>
tableint
Graph::descend(const void *point, tableint from, int layer, int down_to)
{
	tableint	links[MAX_LINKS];
	float		distances[MAX_LINKS];
	float		nearest = distance(point, from);

	for (; layer > down_to; layer--)
	{
		for (bool moved = true; moved;)
		{
			size_t		n = neighbours<linking>(from, layer, links);

			for (size_t i = 0; i < n; i++)
				fetch(links[i]);
			moved = false;
			for (size_t i = 0; i < n; i++)
				distances[i] = distance(point, links[i]);
			for (size_t i = 0; i < n; i++)
			{
				if (distances[i] < nearest)
				{
					nearest = distances[i];
					from = links[i];
					moved = true;
				}
			}
		}
	}
	return from;
}

/*
 * A row that is near enough leads on, and is found if it is alive. A search finds its
 * twins with it: they have no links of their own.
 */
template <bool linking>
inline void
Graph::take(Scratch &s, float d, tableint slot) const
{
	s.add(d, slot, live(slot) ? VECTOR_LEADS | VECTOR_FOUND : VECTOR_LEADS);
	while (!linking && vector_beam_wants(&s.beam, d))
	{
		slot = __atomic_load_n(&rows_.twins[slot], __ATOMIC_ACQUIRE);
		if (slot == VECTOR_NO_SLOT)
			break;
		if (live(slot))
			s.add(d, slot, VECTOR_FOUND);
	}
}

/* Leaves the nearest in s.beam.found. Dead rows lead on, and are not found. */
template <bool linking>
void
Graph::search_layer(const void *point, tableint from, int layer, size_t ef, Scratch &s)
{
	tableint	links[MAX_LINKS];
	float		distances[MAX_LINKS];
	tableint	guess;

	s.begin(max_elements_, ef);
	s.visited[from] = s.tag;
	take<linking>(s, distance(point, from), from);
	while (vector_beam_next(&s.beam, &from))
	{
		size_t		n = neighbours<linking>(from, layer, links);
		size_t		fresh = 0;

		for (size_t i = 0; i < n; i++)
		{
			uint16_t   &tag = s.visited[links[i]];

			if (tag == s.tag)
				continue;
			tag = s.tag;
			fetch(links[i]);
			links[fresh++] = links[i];
		}
		if (vector_beam_guess(&s.beam, &guess))
			fetch_links(guess);
		for (size_t i = 0; i < fresh; i++)
			distances[i] = distance(point, links[i]);
		for (size_t i = 0; i < fresh; i++)
		{
			if (!vector_beam_wants(&s.beam, distances[i]))
				continue;
			take<linking>(s, distances[i], links[i]);
			if (vector_beam_guess(&s.beam, &guess) && guess == links[i])
				fetch_links(guess);
		}
	}
	vector_beam_end(&s.beam);
}

void
Graph::allocate_upper(tableint slot, unsigned level)
{
	if (level == 0 || linkLists_[slot] != nullptr)
		return;
	linkLists_[slot] = (char *) calloc(level, size_links_per_element_);
	if (linkLists_[slot] == nullptr)
		throw std::bad_alloc();
	element_levels_[slot] = (int) level;
	upper_bytes_.fetch_add(level * size_links_per_element_ + 16,
						   std::memory_order_relaxed);
}

/*
 * The row's own lock is held throughout: whoever finds it through its first links
 * waits until it has all. That cannot deadlock, since of two rows being linked only
 * the later one can find the other in a layer.
 */
void
Graph::link(tableint slot)
{
	const char *point = getDataByInternalId(slot);
	int			own = (int) level(slot);

	allocate_upper(slot, own);

	Lease		lease(*this);
	std::unique_lock<std::mutex> top(global);
	std::unique_lock<std::mutex> self(link_list_locks_[slot]);
	uint64_t	entry = entry_.load(std::memory_order_relaxed);
	int			highest = entry == NO_ENTRY ? -1 : (int) (entry >> 32);
	tableint	at = (tableint) entry;

	if (own <= highest)
		top.unlock();
	if (highest >= 0)
	{
		at = descend<true>(point, at, highest, own);
		for (int layer = std::min(own, highest); layer >= 0; layer--)
		{
			search_layer<true>(point, at, layer, ef_construction_, *lease);
			std::vector<std::pair<float, tableint>> near;

			const vector_nears &found = (*lease).beam.found;

			near.reserve(found.n + 1);
			for (size_t i = 0; i < found.n; i++)
				near.emplace_back(found.items[i].distance, found.items[i].slot);
			/* Everything near is dead: a dead neighbour is better than none. */
			if (near.empty())
				near.emplace_back(distance(point, at), at);
			std::priority_queue<std::pair<float, tableint>,
				std::vector<std::pair<float, tableint>>, CompareByFirst>
				candidates(CompareByFirst(), std::move(near));

			at = mutuallyConnectNewElement(point, slot, candidates, layer, false);
		}
	}
	if (own > highest)
		entry_.store((uint64_t) own << 32 | slot, std::memory_order_release);
}

void
Graph::search(const void *point, uint32_t ef, vector_near *found, uint32_t *n_found)
{
	uint64_t	entry = entry_.load(std::memory_order_acquire);

	*n_found = 0;
	if (entry == NO_ENTRY || ef == 0)
		return;

	Lease		lease(*this);
	tableint	from = descend<false>(point, (tableint) entry, (int) (entry >> 32), 0);

	search_layer<false>(point, from, 0, ef, *lease);
	std::copy_n((*lease).beam.found.items, (*lease).beam.found.n, found);
	*n_found = (uint32_t) (*lease).beam.found.n;
}

void
Graph::copy_links(tableint slot, unsigned layer, uint32_t end, uint32_t *links)
{
	tableint	copy[MAX_LINKS];
	size_t		n = neighbours<true>(slot, (int) layer, copy);
	uint32_t	kept = 0;

	for (size_t i = 0; i < n; i++)
		if (copy[i] < end)
			links[++kept] = copy[i];
	links[0] = kept;
}

bool
Graph::restore(tableint slot, unsigned layer, uint32_t end, const uint32_t *links)
{
	size_t		n = links[0];

	if (layer > level(slot) || n > (layer == 0 ? maxM0_ : maxM_))
		return false;
	for (size_t i = 1; i <= n; i++)
		if (links[i] >= end || links[i] == slot || (layer > 0 && level(links[i]) < layer))
			return false;
	if (layer == 0)
		return true;
	allocate_upper(slot, level(slot));
	memcpy(get_linklist(slot, (int) layer), links, (n + 1) * sizeof(uint32_t));
	return true;
}

void
Graph::restored(uint32_t end, const uint8_t *skipped)
{
	int64_t		highest = -1;

	for (uint32_t slot = 0; slot < end; slot++)
	{
		int			own = (int) level(slot);

		if (skipped[slot])
			continue;
		allocate_upper(slot, own);
		if (own > highest)
		{
			highest = own;
			entry_.store((uint64_t) own << 32 | slot);
		}
	}
}

uint64_t
Graph::bytes() const
{
	return vector_graph_bytes_for((uint32_t) max_elements_) +
		upper_bytes_.load(std::memory_order_relaxed) +
		scratches_.load(std::memory_order_relaxed) * max_elements_ * sizeof(uint16_t);
}

} /* namespace */

struct vector_graph
{
	explicit vector_graph(const vector_graph_options &options)
		: space(options), graph(&space, options)
	{
	}

	Space		space;
	Graph		graph;
};

/* Where exceptions end. */
template <typename Step>
static bool
done(Step step) noexcept
{
	try
	{
		step();
		return true;
	}
	catch (...)
	{
		return false;
	}
}

vector_graph *
vector_graph_create(const vector_graph_options *options)
{
	vector_graph *graph = nullptr;

	done([&] { graph = new vector_graph(*options); });
	return graph;
}

void
vector_graph_destroy(vector_graph *graph)
{
	delete graph;
}

bool
vector_graph_grow(vector_graph *graph, const vector_graph_rows *rows)
{
	return done([&] { graph->graph.grow(*rows); });
}

bool
vector_graph_link(vector_graph *graph, uint32_t slot)
{
	return done([&] { graph->graph.link(slot); });
}

bool
vector_graph_search(vector_graph *graph, const void *point, uint32_t ef,
					vector_near *found, uint32_t *n_found)
{
	return done([&] { graph->graph.search(point, ef, found, n_found); });
}

uint64_t
vector_graph_bytes_for(uint32_t capacity)
{
	return sizeof(vector_graph) +
		(uint64_t) capacity * (sizeof(std::mutex) + sizeof(int) + sizeof(char *));
}

uint64_t
vector_graph_bytes(const vector_graph *graph)
{
	return graph->graph.bytes();
}

void
vector_graph_copy_links(vector_graph *graph, uint32_t slot, unsigned layer, uint32_t end,
						uint32_t *links)
{
	graph->graph.copy_links(slot, layer, end, links);
}

bool
vector_graph_restore(vector_graph *graph, uint32_t slot, unsigned layer, uint32_t end,
					 const uint32_t *links, bool *good)
{
	return done([&] { *good = graph->graph.restore(slot, layer, end, links); });
}

bool
vector_graph_restored(vector_graph *graph, uint32_t end, const uint8_t *skipped)
{
	return done([&] { graph->graph.restored(end, skipped); });
}
