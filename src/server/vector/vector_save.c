/*
 * vector_save.c - writes a snapshot while the index is in use.
 *
 * The file says what the rows were when it began, with the deaths up to when each
 * block was copied. That is enough: a row that died since belongs to a change after
 * the position, which is made again after loading.
 */
#include "vector_snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

typedef struct saver
{
	vector_rows *rows;
	uint32_t	n_rows;
	uint32_t	n_linked;
	int			fd;
	uint64_t	n_blocks;
	char	   *block;			/* a snapshot_block, then its bytes */
	size_t		size;			/* of the bytes */
	int			error;			/* errno of what failed; 0: nothing did */
} saver;

/* A block of ids is the largest there is. */
#define BUFFER_BYTES (sizeof(snapshot_block) + SNAPSHOT_BLOCK_BYTES + \
					  SNAPSHOT_BLOCK_ROWS * (sizeof(snapshot_row) + VECTOR_MAX_ID_SIZE))

uint64_t
snapshot_checksum(const void *bytes, uint64_t size, uint64_t number)
{
	return XXH3_64bits_withSeed(bytes, size, number * UINT64_C(0x9e3779b97f4a7c15) + size);
}

static void
write_all(saver *s, const void *bytes, size_t size)
{
	const char *from = bytes;

	while (size > 0 && s->error == 0)
	{
		ssize_t		written = write(s->fd, from, size);

		if (written < 0 && errno != EINTR)
			s->error = errno;
		if (written > 0)
		{
			from += written;
			size -= (size_t) written;
		}
	}
}

static char *
block_end(const saver *s)
{
	return s->block + sizeof(snapshot_block) + s->size;
}

static void
flush_block(saver *s)
{
	const char *bytes = s->block + sizeof(snapshot_block);
	snapshot_block head = {s->size, snapshot_checksum(bytes, s->size, s->n_blocks)};

	memcpy(s->block, &head, sizeof(head));
	write_all(s, s->block, sizeof(head) + s->size);
	s->n_blocks++;
	s->size = 0;
}

static void
save_header(saver *s, vector_version position)
{
	const vector_index_options *of = &s->rows->options;
	snapshot_header header = {SNAPSHOT_MAGIC, SNAPSHOT_BYTE_ORDER, of->metric, of->type,
		of->dimensions, of->m, (uint32_t) s->rows->row_size, s->n_rows, s->n_linked,
		position.term, position.index, 0};

	header.checksum = snapshot_checksum(&header, offsetof(snapshot_header, checksum), 0);
	write_all(s, &header, sizeof(header));
}

static void
save_ids(saver *s)
{
	for (uint32_t from = 0; from < s->n_rows && s->error == 0;)
	{
		uint32_t	n = s->n_rows - from;
		snapshot_row *records = (snapshot_row *) block_end(s);
		char	   *id;

		if (n > SNAPSHOT_BLOCK_ROWS)
			n = SNAPSHOT_BLOCK_ROWS;
		id = (char *) (records + n);
		pthread_rwlock_rdlock(&s->rows->shape);
		for (uint32_t i = 0; i < n; i++)
		{
			const vector_slot *row = &s->rows->slots[from + i];
			bool		live = vector_row_state(s->rows, from + i) & VECTOR_LIVE;

			records[i] = (snapshot_row) {row->version.term, row->version.index,
				row->id_size, live, 0};
			memcpy(id, row->id, row->id_size);
			id += row->id_size;
		}
		pthread_rwlock_unlock(&s->rows->shape);
		s->size = (size_t) (id - (char *) records);
		flush_block(s);
		from += n;
	}
}

static bool
has_links(const saver *s, uint32_t slot)
{
	return slot < s->n_linked && !(vector_row_state(s->rows, slot) & VECTOR_TWIN);
}

static void
save_rows(saver *s)
{
	size_t		row_size = s->rows->row_size;

	for (uint32_t slot = 0; slot < s->n_rows && s->error == 0;)
	{
		uint32_t	n = s->n_rows - slot;
		char	   *to = block_end(s);

		if (n > snapshot_rows_a_block(row_size))
			n = snapshot_rows_a_block(row_size);
		s->size = n * row_size;
		memset(to, 0, s->size);
		pthread_rwlock_rdlock(&s->rows->shape);
		for (; n > 0; n--, slot++, to += row_size)
		{
			memcpy(to, vector_row(s->rows, slot), s->rows->point_size);
			if (has_links(s, slot))
				vector_graph_copy_links(s->rows->graph, slot, 0, s->n_linked,
										(uint32_t *) (to + s->rows->links_offset));
		}
		pthread_rwlock_unlock(&s->rows->shape);
		flush_block(s);
	}
}

static void
save_upper_links(saver *s)
{
	for (uint32_t slot = 0; slot < s->n_linked && s->error == 0; slot++)
	{
		unsigned	level;
		size_t		layer_size;

		pthread_rwlock_rdlock(&s->rows->shape);
		level = has_links(s, slot) ? vector_graph_level(slot, s->rows->options.m) : 0;
		layer_size = vector_graph_upper_size(s->rows->options.m);
		for (unsigned layer = 1; layer <= level; layer++)
		{
			memset(block_end(s), 0, layer_size);
			vector_graph_copy_links(s->rows->graph, slot, layer, s->n_linked,
									(uint32_t *) block_end(s));
			s->size += layer_size;
		}
		pthread_rwlock_unlock(&s->rows->shape);
		if (s->size >= SNAPSHOT_BLOCK_BYTES)
			flush_block(s);
	}
	if (s->size > 0)
		flush_block(s);
}

static void
save_all(saver *s, vector_version position)
{
	save_header(s, position);
	save_ids(s);
	save_rows(s);
	save_upper_links(s);
	memcpy(block_end(s), SNAPSHOT_MAGIC, 8);
	s->size = 8;
	flush_block(s);
	if (s->error == 0 && fsync(s->fd) < 0)
		s->error = errno;
	if (close(s->fd) < 0 && s->error == 0)
		s->error = errno;
}

static int
sync_directory_of(const char *path)
{
	char		copy[PATH_MAX];
	int			fd;
	int			error = 0;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	if (fsync(fd) < 0)
		error = errno;
	close(fd);
	return error;
}

/* Rows that were not there when this began are not in it. */
static void
choose_rows(saver *s)
{
	/* n_linked first: a row that is linked is there. */
	s->n_linked = atomic_load(&s->rows->n_linked);
	s->n_rows = atomic_load(&s->rows->n_rows);
	if (atomic_load(&s->rows->broken) || s->rows->options.type != VECTOR_HNSW)
		s->n_linked = 0;
}

static vector_code
save_to(saver *s, const char *temporary, const char *path, vector_version position,
		vector_status *status)
{
	s->fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (s->fd < 0)
		return vector_fail(status, VECTOR_IO, "could not create \"%s\": %s", temporary,
						   strerror(errno));
	choose_rows(s);
	save_all(s, position);
	if (s->error == 0 && rename(temporary, path) < 0)
		s->error = errno;
	if (s->error == 0)
		s->error = sync_directory_of(path);
	else
		unlink(temporary);
	if (s->error != 0)
		return vector_fail(status, VECTOR_IO, "could not write \"%s\": %s", path,
						   strerror(s->error));
	if (status)
		status->code = VECTOR_OK;
	return VECTOR_OK;
}

vector_code
vector_index_save(vector_index *index, const char *path, vector_version position,
				  vector_status *status)
{
	saver		s = {.block = malloc(BUFFER_BYTES)};
	char		temporary[PATH_MAX];
	vector_code code;

	if (s.block == NULL)
		return vector_fail(status, VECTOR_NO_MEMORY, "out of memory");
	if (snprintf(temporary, sizeof(temporary), "%s.tmp", path) >= (int) sizeof(temporary))
	{
		free(s.block);
		return vector_fail(status, VECTOR_INVALID, "the path is longer than %d bytes",
						   PATH_MAX - 5);
	}
	pthread_mutex_lock(&index->saving);
	s.rows = vector_index_pin(index);
	code = save_to(&s, temporary, path, position, status);
	vector_rows_release(s.rows);
	pthread_mutex_unlock(&index->saving);
	free(s.block);
	return code;
}
