/*
 * vector_load.c - reads a snapshot, believing nothing in it.
 *
 * A block is looked at only after its checksum held; and what it says is checked all
 * the same, since a file can also have been written by a defect.
 */
#include "vector_snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct loader
{
	vector_rows *rows;
	snapshot_header header;
	int			fd;
	uint64_t	left;			/* bytes of the file */
	uint64_t	n_blocks;
	char	   *block;
	size_t		size;
	size_t		room;
	const char *path;
	vector_status *status;
} loader;

static bool
refuse(loader *l, const char *what)
{
	vector_fail(l->status, VECTOR_REFUSED, "snapshot \"%s\" is refused: %s", l->path, what);
	return false;
}

static bool
no_memory(loader *l)
{
	vector_fail(l->status, VECTOR_NO_MEMORY, "out of memory");
	return false;
}

static bool
read_all(loader *l, void *bytes, size_t size)
{
	char	   *to = bytes;

	if (size > l->left)
		return refuse(l, "it ends too early");
	l->left -= size;
	while (size > 0)
	{
		ssize_t		n = read(l->fd, to, size);

		if (n == 0)
			return refuse(l, "it ends too early");
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
		{
			vector_fail(l->status, VECTOR_IO, "could not read \"%s\": %s", l->path,
						strerror(errno));
			return false;
		}
		to += n;
		size -= (size_t) n;
	}
	return true;
}

static bool
read_head(loader *l, snapshot_block *head)
{
	return read_all(l, head, sizeof(*head)) &&
		(head->size <= l->left || refuse(l, "it ends too early"));
}

static bool
check_block(loader *l, const snapshot_block *head, const void *bytes)
{
	if (head->checksum == snapshot_checksum(bytes, head->size, l->n_blocks++))
		return true;
	return refuse(l, "a checksum does not match");
}

/* A block whose size only it knows, into the loader's own memory. */
static bool
read_block(loader *l)
{
	snapshot_block head;

	if (!read_head(l, &head))
		return false;
	if (head.size > l->room)
	{
		char	   *grown = realloc(l->block, head.size);

		if (grown == NULL)
			return no_memory(l);
		l->block = grown;
		l->room = head.size;
	}
	l->size = head.size;
	return read_all(l, l->block, l->size) && check_block(l, &head, l->block);
}

static bool
load_header(loader *l, const vector_index_options *options)
{
	snapshot_header *h = &l->header;

	if (!read_all(l, h, sizeof(*h)))
		return false;
	if (memcmp(h->magic, SNAPSHOT_MAGIC, sizeof(h->magic)) != 0 ||
		h->byte_order != SNAPSHOT_BYTE_ORDER)
		return refuse(l, "it is none of this version and machine");
	if (h->checksum != snapshot_checksum(h, offsetof(snapshot_header, checksum), 0))
		return refuse(l, "a checksum does not match");
	if (h->metric != options->metric || h->type != options->type ||
		h->dimensions != options->dimensions || h->m != options->m ||
		h->row_size != l->rows->row_size)
		return refuse(l, "it is of an index with other parameters");
	if (h->n_linked > h->n_rows || h->n_rows > VECTOR_MAX_ROWS ||
		(h->n_linked > 0 && h->type != VECTOR_HNSW) ||
		(uint64_t) h->n_rows * h->row_size > l->left)
		return refuse(l, "its numbers contradict each other");
	return true;
}

static bool
take_ids(loader *l, uint32_t from, uint32_t n)
{
	const snapshot_row *records = (const snapshot_row *) l->block;
	const char *id = (const char *) (records + n);
	const char *end = l->block + l->size;

	if (l->size < n * sizeof(*records))
		return refuse(l, "a block is too small");
	for (uint32_t i = 0; i < n; i++)
	{
		const snapshot_row *record = &records[i];
		char	   *copy;

		if (record->id_size > VECTOR_MAX_ID_SIZE || record->id_size > end - id ||
			record->live > 1)
			return refuse(l, "an id is out of bounds");
		copy = vector_rows_id(l->rows, record->id_size);
		if (copy == NULL)
			return no_memory(l);
		memcpy(copy, id, record->id_size);
		id += record->id_size;
		l->rows->slots[from + i] = (vector_slot) {copy, {record->term, record->index},
			record->id_size};
		l->rows->states[from + i] = record->live ? VECTOR_LIVE : 0;
	}
	return id == end || refuse(l, "a block is too large");
}

static bool
load_ids(loader *l)
{
	for (uint32_t from = 0; from < l->header.n_rows; from += SNAPSHOT_BLOCK_ROWS)
	{
		uint32_t	n = l->header.n_rows - from;

		if (n > SNAPSHOT_BLOCK_ROWS)
			n = SNAPSHOT_BLOCK_ROWS;
		if (!read_block(l) || !take_ids(l, from, n))
			return false;
	}
	return true;
}

static bool
check_row(loader *l, uint32_t slot)
{
	const vector_index_options *of = &l->rows->options;
	float	   *point = (float *) vector_row(l->rows, slot);

	if (vector_check(of->metric, of->dimensions, point, of->dimensions, NULL) != VECTOR_OK)
		return refuse(l, "a vector is none");
	vector_point_fill(of->metric, of->dimensions, point, point);
	return true;
}

/* Straight into their place. */
static bool
load_rows(loader *l)
{
	size_t		row_size = l->rows->row_size;

	for (uint32_t slot = 0; slot < l->header.n_rows;)
	{
		uint32_t	n = l->header.n_rows - slot;
		char	   *to = (char *) vector_row(l->rows, slot);
		snapshot_block head;

		if (n > snapshot_rows_a_block(row_size))
			n = snapshot_rows_a_block(row_size);
		if (!read_head(l, &head))
			return false;
		if (head.size != n * row_size)
			return refuse(l, "a block has another size than it must");
		if (!read_all(l, to, head.size) || !check_block(l, &head, to))
			return false;
		for (; n > 0; n--, slot++)
			if (!check_row(l, slot))
				return false;
	}
	return true;
}

static const uint32_t *
row_links(const loader *l, uint32_t slot)
{
	return (const uint32_t *) (vector_row(l->rows, slot) + l->rows->links_offset);
}

static bool
restore(loader *l, uint32_t slot, unsigned layer, const uint32_t *links)
{
	bool		good = false;

	if (!vector_graph_restore(l->rows->graph, slot, layer, l->header.n_linked, links,
							  &good))
		return no_memory(l);
	return good || refuse(l, "a link leads nowhere");
}

/* Links of one row; those above layer 0 are the next ones of the block. */
static bool
take_links(loader *l, uint32_t slot, size_t *used)
{
	uint32_t	m = l->rows->options.m;
	size_t		layer_size = vector_graph_upper_size(m);
	unsigned	level = vector_graph_level(slot, m);

	if (!restore(l, slot, 0, row_links(l, slot)))
		return false;
	if (level > 0 && *used == l->size)
	{
		if (!read_block(l))
			return false;
		*used = 0;
	}
	for (unsigned layer = 1; layer <= level; layer++, *used += layer_size)
	{
		if (l->size - *used < layer_size)
			return refuse(l, "a block is too small");
		if (!restore(l, slot, layer, (const uint32_t *) (l->block + *used)))
			return false;
	}
	return true;
}

static bool
load_links(loader *l)
{
	vector_rows *rows = l->rows;
	uint32_t	end = l->header.n_linked;
	uint8_t    *skipped;
	size_t		used = 0;
	bool		loaded = true;

	l->size = 0;
	skipped = calloc(end ? end : 1, 1);
	if (skipped == NULL || (end > 0 && !vector_rows_make_graph(rows)))
	{
		free(skipped);
		return no_memory(l);
	}
	for (uint32_t slot = 0; slot < end && loaded; slot++)
	{
		skipped[slot] = (rows->states[slot] & VECTOR_TWIN) != 0;
		loaded = skipped[slot] || take_links(l, slot, &used);
		rows->states[slot] |= VECTOR_LINKED;
	}
	if (loaded && used != l->size)
		loaded = refuse(l, "a block is too large");
	if (loaded && end > 0 && !vector_graph_restored(rows->graph, end, skipped))
		loaded = no_memory(l);
	free(skipped);
	atomic_store(&rows->next_to_link, end);
	atomic_store(&rows->n_linked, end);
	return loaded;
}

static bool
load_end(loader *l)
{
	if (!read_block(l))
		return false;
	if (l->size != 8 || memcmp(l->block, SNAPSHOT_MAGIC, 8) != 0 || l->left != 0)
		return refuse(l, "its end is not where it must be");
	return true;
}

static bool
load_all(loader *l, const vector_index_options *options)
{
	if (!load_header(l, options))
		return false;
	if (!vector_rows_reserve(l->rows, l->header.n_rows, 0))
		return no_memory(l);
	return load_ids(l) && load_rows(l) &&
		(vector_rows_adopt(l->rows, l->header.n_rows) ||
		 refuse(l, "an id is in it twice")) &&
		load_links(l) && load_end(l);
}

static bool
open_file(loader *l)
{
	struct stat stat;

	l->fd = open(l->path, O_RDONLY | O_CLOEXEC);
	if (l->fd < 0 || fstat(l->fd, &stat) < 0)
	{
		vector_fail(l->status, VECTOR_IO, "could not open \"%s\": %s", l->path,
					strerror(errno));
		return false;
	}
	l->left = (uint64_t) stat.st_size;
	posix_fadvise(l->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	return true;
}

vector_index *
vector_index_load(const char *path, const vector_index_options *options,
				  vector_version *position, vector_status *status)
{
	loader		l = {.fd = -1, .path = path, .status = status};
	vector_index_options filled;
	vector_index *index = NULL;

	l.rows = vector_rows_for(options, &filled, status);
	if (l.rows == NULL)
		return NULL;
	if (open_file(&l) && load_all(&l, &filled))
	{
		index = vector_index_of_rows(l.rows, &filled);
		if (index == NULL)
			no_memory(&l);
	}
	if (l.fd >= 0)
		close(l.fd);
	free(l.block);
	if (index == NULL)
	{
		vector_rows_release(l.rows);
		return NULL;
	}
	*position = (vector_version) {l.header.position_term, l.header.position_index};
	pthread_mutex_lock(&index->writer);
	vector_background_wake(index);
	pthread_mutex_unlock(&index->writer);
	if (status)
		status->code = VECTOR_OK;
	return index;
}
