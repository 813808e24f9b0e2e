/*
 * vector_rows.c - memory of one generation: growing, appending, killing.
 *
 * Rows are mapped, not allocated: growing moves pages rather than bytes, and what is
 * not written yet takes no memory.
 */
#include "vector_rows.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define FIRST_CAPACITY 64
#define SMALL_CAPACITY 4096
#define HUGE_PAGE ((size_t) 2 << 20)
#define PAGE ((size_t) 4096)
#define FIRST_CHUNK 1024
#define LARGEST_CHUNK ((size_t) 256 << 10)

struct vector_id_chunk
{
	vector_id_chunk *next;
	size_t		used;
	size_t		size;
	char		bytes[];
};

/* A writer that waits goes before new readers, or it might wait for ever. */
static void
init_lock(pthread_rwlock_t *lock)
{
	pthread_rwlockattr_t attributes;

	pthread_rwlockattr_init(&attributes);
	pthread_rwlockattr_setkind_np(&attributes,
								  PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(lock, &attributes);
	pthread_rwlockattr_destroy(&attributes);
}

vector_rows *
vector_rows_create(const vector_index_options *options)
{
	vector_rows *rows = calloc(1, sizeof(*rows));
	size_t		size;

	if (rows == NULL)
		return NULL;
	rows->options = *options;
	rows->padded = vector_padded(options->dimensions);
	rows->point_size = vector_point_size(options->metric, options->dimensions);
	rows->links_offset = rows->point_size;
	size = rows->point_size;
	if (options->type == VECTOR_HNSW)
		size += vector_graph_links_size(options->m);
	rows->row_size = (size + VECTOR_ALIGNMENT - 1) / VECTOR_ALIGNMENT * VECTOR_ALIGNMENT;
	rows->distance = vector_distance_of(vector_kernels_at(0), options->metric);
	init_lock(&rows->shape);
	init_lock(&rows->table);
	pthread_mutex_init(&rows->linking, NULL);
	pthread_cond_init(&rows->linked_one, NULL);
	atomic_init(&rows->references, 1);
	return rows;
}

void
vector_rows_release(vector_rows *rows)
{
	if (rows == NULL || atomic_fetch_sub(&rows->references, 1) > 1)
		return;
	if (rows->graph)
		vector_graph_destroy(rows->graph);
	if (rows->rows)
		munmap(rows->rows, rows->rows_mapped);
	while (rows->chunks)
	{
		vector_id_chunk *chunk = rows->chunks;

		rows->chunks = chunk->next;
		free(chunk);
	}
	free(rows->slots);
	free(rows->states);
	free(rows->twins);
	free(rows->ids.entries);
	free(rows->contents.entries);
	pthread_rwlock_destroy(&rows->shape);
	pthread_rwlock_destroy(&rows->table);
	pthread_mutex_destroy(&rows->linking);
	pthread_cond_destroy(&rows->linked_one);
	free(rows);
}

/* ---- Growing ---- */

static uint64_t
next_capacity(const vector_rows *rows, uint64_t needed)
{
	uint64_t	capacity = rows->capacity;

	capacity += capacity < SMALL_CAPACITY ? capacity : capacity / 4;
	if (capacity < FIRST_CAPACITY)
		capacity = FIRST_CAPACITY;
	if (capacity > VECTOR_MAX_ROWS)
		capacity = VECTOR_MAX_ROWS;
	return capacity < needed ? needed : capacity;
}

static size_t
mapping_size(const vector_rows *rows, uint64_t capacity)
{
	size_t		size = capacity * rows->row_size;
	size_t		unit = size >= 2 * HUGE_PAGE ? HUGE_PAGE : PAGE;

	return (size + unit - 1) / unit * unit;
}

/* Of one row that is there; arrays are longer, but nothing has touched their ends. */
static uint64_t
bytes_a_row(const vector_rows *rows)
{
	return rows->row_size + sizeof(vector_slot) + 1 +
		(rows->options.type == VECTOR_HNSW ? sizeof(uint32_t) : 0);
}

static vector_graph_rows
graph_rows(const vector_rows *rows)
{
	return (vector_graph_rows) {rows->rows, rows->states, rows->twins, rows->capacity};
}

/* Alone under shape: the arrays change places, and the mapping may. */
static bool
move(vector_rows *rows, vector_slot **slots, uint8_t **states, uint32_t **twins,
	 uint32_t capacity)
{
	uint32_t	n = atomic_load_explicit(&rows->n_rows, memory_order_relaxed);
	size_t		size = mapping_size(rows, capacity);
	vector_graph_rows grown;
	void	   *mapped;

	if (rows->rows == NULL)
		mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
					  -1, 0);
	else
		mapped = mremap(rows->rows, rows->rows_mapped, size, MREMAP_MAYMOVE);
	if (mapped == MAP_FAILED)
		return false;
	rows->rows = mapped;
	rows->rows_mapped = size;
	if (size >= 2 * HUGE_PAGE)
		madvise(mapped, size, MADV_HUGEPAGE);

	/* States also change under `linking`, by those who hold shape. */
	if (n > 0)
		memcpy(*states, rows->states, n);
	grown = (vector_graph_rows) {rows->rows, *states, *twins, capacity};
	if (rows->graph && !vector_graph_grow(rows->graph, &grown))
	{
		/* What the graph knows must be where the rows are now. */
		grown = graph_rows(rows);
		if (!vector_graph_grow(rows->graph, &grown))
			atomic_store(&rows->broken, true);
		return false;
	}
	{
		vector_slot *old_slots = rows->slots;
		uint8_t    *old_states = rows->states;
		uint32_t   *old_twins = rows->twins;

		rows->slots = *slots;
		rows->states = *states;
		rows->twins = *twins;
		*slots = old_slots;
		*states = old_states;
		*twins = old_twins;
	}
	rows->capacity = capacity;
	return true;
}

static bool
grow(vector_rows *rows, uint64_t needed)
{
	uint64_t	capacity = next_capacity(rows, needed);
	uint32_t	n = atomic_load_explicit(&rows->n_rows, memory_order_relaxed);
	bool		hnsw = rows->options.type == VECTOR_HNSW;
	vector_slot *slots;
	uint8_t    *states;
	uint32_t   *twins = NULL;
	bool		moved = false;

	if (capacity > VECTOR_MAX_ROWS)
		return false;
	slots = malloc(capacity * sizeof(*slots));
	states = calloc(capacity, 1);
	if (hnsw)
		twins = malloc(capacity * sizeof(*twins));
	if (slots && states && (twins || !hnsw))
	{
		if (n > 0)
			memcpy(slots, rows->slots, n * sizeof(*slots));
		if (n > 0 && hnsw)
			memcpy(twins, rows->twins, n * sizeof(*twins));
		pthread_rwlock_wrlock(&rows->shape);
		moved = move(rows, &slots, &states, &twins, (uint32_t) capacity);
		pthread_rwlock_unlock(&rows->shape);
	}
	free(slots);
	free(states);
	free(twins);
	return moved;
}

/* The new map is made beside the old one, which readers go on with. */
static bool
grow_map(vector_rows *rows, vector_map *map, uint32_t needed)
{
	vector_map	grown;
	vector_map_entry *old = map->entries;

	if (vector_map_fits(map, needed))
		return true;
	if (!vector_map_grown(map, needed, &grown))
		return false;
	pthread_rwlock_wrlock(&rows->table);
	*map = grown;
	pthread_rwlock_unlock(&rows->table);
	free(old);
	return true;
}

static size_t
id_room(const vector_rows *rows)
{
	return rows->chunks ? rows->chunks->size - rows->chunks->used : 0;
}

static size_t
next_chunk(const vector_rows *rows, size_t id_bytes)
{
	size_t		size = rows->chunks ? rows->chunks->size * 2 : FIRST_CHUNK;

	if (size > LARGEST_CHUNK)
		size = LARGEST_CHUNK;
	return size < id_bytes ? id_bytes : size;
}

static bool
reserve_ids(vector_rows *rows, size_t id_bytes)
{
	size_t		size = next_chunk(rows, id_bytes);
	vector_id_chunk *chunk;

	if (id_room(rows) >= id_bytes && rows->chunks)
		return true;
	chunk = malloc(sizeof(*chunk) + size);
	if (chunk == NULL)
		return false;
	chunk->next = rows->chunks;
	chunk->used = 0;
	chunk->size = size;
	rows->chunks = chunk;
	atomic_fetch_add(&rows->id_bytes, sizeof(*chunk) + size);
	return true;
}

char *
vector_rows_id(vector_rows *rows, size_t id_size)
{
	vector_id_chunk *chunk;

	if (!reserve_ids(rows, id_size))
		return NULL;
	chunk = rows->chunks;
	chunk->used += id_size;
	return chunk->bytes + chunk->used - id_size;
}

bool
vector_rows_reserve(vector_rows *rows, size_t n, size_t id_bytes)
{
	uint64_t	needed = (uint64_t) atomic_load(&rows->n_rows) + n;

	if (n > VECTOR_MAX_ROWS || needed > VECTOR_MAX_ROWS)
		return false;
	return (needed <= rows->capacity || grow(rows, needed)) &&
		grow_map(rows, &rows->ids, (uint32_t) needed) &&
		(rows->options.type != VECTOR_HNSW ||
		 grow_map(rows, &rows->contents, (uint32_t) needed)) &&
		reserve_ids(rows, id_bytes);
}

uint64_t
vector_rows_bytes_needed(vector_rows *rows, size_t n, size_t id_bytes)
{
	uint64_t	needed = (uint64_t) atomic_load(&rows->n_rows) + n;
	uint64_t	bytes = n * bytes_a_row(rows);
	bool		hnsw = rows->options.type == VECTOR_HNSW;
	uint64_t	capacity = needed > rows->capacity ? next_capacity(rows, needed) :
		rows->capacity;

	/* The graph is made at some put, by whoever links first. */
	pthread_rwlock_rdlock(&rows->shape);
	if (hnsw)
		bytes += vector_graph_bytes_for((uint32_t) capacity) -
			(rows->graph ? vector_graph_bytes_for(rows->capacity) : 0);
	pthread_rwlock_unlock(&rows->shape);
	if (!vector_map_fits(&rows->ids, (uint32_t) needed))
		bytes += vector_map_bytes((uint32_t) needed) * (hnsw ? 2 : 1);
	if (id_room(rows) < id_bytes || rows->chunks == NULL)
		bytes += sizeof(vector_id_chunk) + next_chunk(rows, id_bytes);
	/* Links above layer 0: m of every m-th row and of fewer above that, or so. */
	if (hnsw)
		bytes += n * 2 * sizeof(uint32_t);
	return bytes;
}

uint64_t
vector_rows_bytes(vector_rows *rows)
{
	uint64_t	bytes = sizeof(*rows) + atomic_load(&rows->id_bytes);

	pthread_rwlock_rdlock(&rows->shape);
	bytes += atomic_load(&rows->n_rows) * bytes_a_row(rows);
	if (rows->graph)
		bytes += vector_graph_bytes(rows->graph);
	pthread_rwlock_unlock(&rows->shape);
	pthread_rwlock_rdlock(&rows->table);
	bytes += (uint64_t) (rows->ids.size + rows->contents.size) * sizeof(vector_map_entry);
	pthread_rwlock_unlock(&rows->table);
	return bytes;
}

/* ---- Rows and ids ---- */

static bool
same_id(const void *arg, uint32_t slot, const void *key, size_t key_size)
{
	const vector_slot *other = &((const vector_rows *) arg)->slots[slot];

	return other->id_size == key_size && memcmp(other->id, key, key_size) == 0;
}

static bool
same_components(const void *arg, uint32_t slot, const void *key, size_t key_size)
{
	return memcmp(vector_row(arg, slot), key, key_size) == 0;
}

uint32_t
vector_rows_find(const vector_rows *rows, const char *id, size_t id_size)
{
	return vector_map_find(&rows->ids, vector_map_hash(id, id_size), id, id_size, same_id,
						   rows);
}

static void
set_state(vector_rows *rows, uint32_t slot, uint8_t state)
{
	__atomic_or_fetch(&rows->states[slot], state, __ATOMIC_RELEASE);
}

static void
bury(vector_rows *rows, uint32_t slot)
{
	__atomic_and_fetch(&rows->states[slot], (uint8_t) ~VECTOR_LIVE, __ATOMIC_RELEASE);
}

/* The chain of a row's twins starts at the first of them, the only one linked. */
static void
chain(vector_rows *rows, uint32_t first, uint32_t slot)
{
	rows->twins[slot] = rows->twins[first];
	set_state(rows, slot, VECTOR_TWIN);
	__atomic_store_n(&rows->twins[first], slot, __ATOMIC_RELEASE);
}

/* Rows with the same components are linked once: a graph of equals leads nowhere. */
static uint32_t
find_first(vector_rows *rows, uint32_t slot, uint32_t *hash)
{
	const char *point = vector_row(rows, slot);
	size_t		size = rows->options.dimensions * sizeof(float);

	*hash = vector_map_hash(point, size);
	return vector_map_find(&rows->contents, *hash, point, size, same_components, rows);
}

void
vector_rows_append(vector_rows *rows, const char *id, size_t id_size,
				   vector_version version, const float *values)
{
	uint32_t	slot = atomic_load_explicit(&rows->n_rows, memory_order_relaxed);
	uint32_t	hash = vector_map_hash(id, id_size);
	uint32_t	old = vector_map_find(&rows->ids, hash, id, id_size, same_id, rows);
	uint32_t	first = VECTOR_NO_SLOT;
	uint32_t	content = 0;
	char	   *copy = vector_rows_id(rows, id_size);

	memcpy(copy, id, id_size);
	rows->slots[slot] = (vector_slot) {copy, version, (uint16_t) id_size};
	vector_point_fill(rows->options.metric, rows->options.dimensions, values,
					  (char *) vector_row(rows, slot));
	if (rows->options.type == VECTOR_HNSW)
	{
		rows->twins[slot] = VECTOR_NO_SLOT;
		first = find_first(rows, slot, &content);
		if (first == VECTOR_NO_SLOT)
			vector_map_set(&rows->contents, content, VECTOR_NO_SLOT, slot);
	}

	pthread_rwlock_wrlock(&rows->table);
	if (first != VECTOR_NO_SLOT)
		chain(rows, first, slot);
	vector_map_set(&rows->ids, hash, old, slot);
	if (old != VECTOR_NO_SLOT)
		bury(rows, old);
	else
		atomic_fetch_add(&rows->n_live, 1);
	set_state(rows, slot, VECTOR_LIVE);
	atomic_store(&rows->n_rows, slot + 1);
	pthread_rwlock_unlock(&rows->table);
}

void
vector_rows_kill(vector_rows *rows, uint32_t slot)
{
	const vector_slot *dead = &rows->slots[slot];
	uint32_t	hash = vector_map_hash(dead->id, dead->id_size);

	pthread_rwlock_wrlock(&rows->table);
	vector_map_remove(&rows->ids, hash, slot);
	bury(rows, slot);
	atomic_fetch_sub(&rows->n_live, 1);
	pthread_rwlock_unlock(&rows->table);
}

bool
vector_rows_adopt(vector_rows *rows, uint32_t n_rows)
{
	uint32_t	live = 0;

	for (uint32_t slot = 0; slot < n_rows; slot++)
	{
		const vector_slot *row = &rows->slots[slot];
		uint32_t	content;
		uint32_t	first;

		if (rows->states[slot] & VECTOR_LIVE)
		{
			uint32_t	hash = vector_map_hash(row->id, row->id_size);

			if (vector_map_find(&rows->ids, hash, row->id, row->id_size, same_id,
								rows) != VECTOR_NO_SLOT)
				return false;
			vector_map_set(&rows->ids, hash, VECTOR_NO_SLOT, slot);
			live++;
		}
		if (rows->options.type != VECTOR_HNSW)
			continue;
		rows->twins[slot] = VECTOR_NO_SLOT;
		first = find_first(rows, slot, &content);
		if (first == VECTOR_NO_SLOT)
			vector_map_set(&rows->contents, content, VECTOR_NO_SLOT, slot);
		else
			chain(rows, first, slot);
	}
	atomic_store(&rows->n_live, live);
	atomic_store(&rows->n_rows, n_rows);
	return true;
}
