/*
 * disk_image.c - replays a journal, keeping apart what is durable.
 */
#include "disk_image.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../tools/shims/disk_journal.h"
#include "engine_fixture.h"

#define SECTOR 512
#define MAX_HANDLES 65536

/* One write or resize that was not synced yet. */
typedef struct unsynced
{
	bool		resize;
	uint64_t	offset;
	const char *data;
	size_t		size;
} unsynced;

typedef struct content
{
	struct content *next;		/* all there ever were */
	bool		is_directory;
	bytes		durable;
	unsynced   *changes;
	size_t		n_changes;
	size_t		changes_size;
} content;

typedef struct name
{
	char	   *path;
	content    *of;
} name;

typedef struct names
{
	name	   *list;
	size_t		n;
} names;

/* A change of names: to is NULL where it removes. */
typedef struct renaming
{
	char	   *from;			/* NULL: a new name */
	char	   *to;
	content    *of;
} renaming;

struct disk
{
	const char *journal;
	size_t		journal_size;
	size_t		position;
	size_t		passed;
	size_t		n_records;
	names		present;
	names		durable;
	renaming   *renamings;		/* not synced yet */
	size_t		n_renamings;
	content    *contents;
	content    *handles[MAX_HANDLES];
	char	   *handle_paths[MAX_HANDLES];
};

/* ---- Names ---- */

static content *
names_find(const names *self, const char *path)
{
	for (size_t i = 0; i < self->n; i++)
	{
		if (strcmp(self->list[i].path, path) == 0)
			return self->list[i].of;
	}
	return NULL;
}

static void
names_remove(names *self, const char *path)
{
	for (size_t i = 0; i < self->n; i++)
	{
		if (strcmp(self->list[i].path, path) != 0)
			continue;
		free(self->list[i].path);
		self->list[i] = self->list[--self->n];
		return;
	}
}

static void
names_set(names *self, const char *path, content *of)
{
	names_remove(self, path);
	self->list = engine_realloc(self->list, (self->n + 1) * sizeof(name));
	self->list[self->n++] = (name) {engine_strdup(path), of};
}

static void
names_apply(names *self, const renaming *change)
{
	if (change->from != NULL)
		names_remove(self, change->from);
	if (change->to != NULL)
		names_set(self, change->to, change->of);
}

static names
names_copy(const names *self)
{
	names		copy = {0};

	for (size_t i = 0; i < self->n; i++)
		names_set(&copy, self->list[i].path, self->list[i].of);
	return copy;
}

static void
names_free(names *self)
{
	for (size_t i = 0; i < self->n; i++)
		free(self->list[i].path);
	free(self->list);
}

static void
parent_of(const char *path, char parent[PATH_MAX])
{
	char	   *slash;

	snprintf(parent, PATH_MAX, "%s", path);
	slash = strrchr(parent, '/');
	*(slash != NULL ? slash : parent) = '\0';
}

static void
rename_now(disk *self, const char *from, const char *to, content *of)
{
	renaming	change = {NULL, NULL, of};

	if (from != NULL)
		change.from = engine_strdup(from);
	if (to != NULL)
		change.to = engine_strdup(to);
	names_apply(&self->present, &change);
	self->renamings = engine_realloc(self->renamings,
									 (self->n_renamings + 1) * sizeof(renaming));
	self->renamings[self->n_renamings++] = change;
}

static void
renaming_free(renaming *change)
{
	free(change->from);
	free(change->to);
}

static void
sync_directory(disk *self, const char *path)
{
	size_t		kept = 0;

	for (size_t i = 0; i < self->n_renamings; i++)
	{
		renaming   *change = &self->renamings[i];
		char		parent[PATH_MAX];

		parent_of(change->to != NULL ? change->to : change->from, parent);
		if (strcmp(parent, path) != 0)
		{
			self->renamings[kept++] = *change;
			continue;
		}
		names_apply(&self->durable, change);
		renaming_free(change);
	}
	self->n_renamings = kept;
}

/* ---- Contents ---- */

static void
resize(bytes *data, size_t size)
{
	if (size > data->capacity)
	{
		data->capacity = size * 2;
		data->data = engine_realloc(data->data, data->capacity);
	}
	if (size > data->size)
		memset(data->data + data->size, 0, size - data->size);
	data->size = size;
}

static void
put_at(bytes *data, uint64_t offset, const char *from, size_t size)
{
	if (offset + size > data->size)
		resize(data, offset + size);
	memcpy(data->data + offset, from, size);
}

static void
apply_change(bytes *data, const unsynced *change)
{
	if (change->resize)
		resize(data, change->offset);
	else
		put_at(data, change->offset, change->data, change->size);
}

/* Some of its sectors. */
static void
apply_torn(bytes *data, const unsynced *change, uint64_t *random)
{
	for (size_t done = 0; done < change->size;)
	{
		size_t		part = SECTOR - (change->offset + done) % SECTOR;

		if (part > change->size - done)
			part = change->size - done;
		if (random_below(random, 2) == 0)
			put_at(data, change->offset + done, change->data + done, part);
		done += part;
	}
}

static void
change_content(content *of, unsynced change)
{
	if (of->n_changes == of->changes_size)
	{
		of->changes_size = of->changes_size * 2 + 16;
		of->changes = engine_realloc(of->changes, of->changes_size * sizeof(unsynced));
	}
	of->changes[of->n_changes++] = change;
}

static void
sync_content(content *of)
{
	for (size_t i = 0; i < of->n_changes; i++)
		apply_change(&of->durable, &of->changes[i]);
	of->n_changes = 0;
}

/* ---- Replaying ---- */

static content *
content_create(disk *self, bool is_directory)
{
	content    *made = engine_calloc(sizeof(*made));

	made->next = self->contents;
	self->contents = made;
	made->is_directory = is_directory;
	return made;
}

static void
replay_open(disk *self, const journal_record *record, const char *path)
{
	content    *of = names_find(&self->present, path);

	if ((record->flags & JOURNAL_CREATED) != 0 || of == NULL)
	{
		/* What was there before the journal began is a directory. */
		of = content_create(self, (record->flags & JOURNAL_CREATED) == 0);
		if (!of->is_directory)
			rename_now(self, NULL, path, of);
	}
	if ((record->flags & JOURNAL_TRUNCATED) != 0)
		change_content(of, (unsynced) {.resize = true});
	if (record->handle >= MAX_HANDLES)
		fail_msg("too many files were opened for this test");
	self->handles[record->handle] = of;
	self->handle_paths[record->handle] = engine_strdup(path);
}

static void
replay_sync(disk *self, const journal_record *record)
{
	content    *of = self->handles[record->handle];

	if (of->is_directory)
		sync_directory(self, self->handle_paths[record->handle]);
	else
		sync_content(of);
}

static void
replay(disk *self, const journal_record *record, const char *path, const char *second,
	   const char *data)
{
	switch (record->type)
	{
		case JOURNAL_OPEN:
			replay_open(self, record, path);
			break;
		case JOURNAL_WRITE:
			change_content(self->handles[record->handle],
						   (unsynced) {.offset = record->offset, .data = data,
						   .size = record->data_size});
			break;
		case JOURNAL_RESIZE:
			change_content(self->handles[record->handle],
						   (unsynced) {.resize = true, .offset = record->offset});
			break;
		case JOURNAL_SYNC:
			replay_sync(self, record);
			break;
		case JOURNAL_MKDIR:
			rename_now(self, NULL, path, content_create(self, true));
			break;
		case JOURNAL_RENAME:
			rename_now(self, path, second, names_find(&self->present, path));
			break;
		case JOURNAL_LINK:
			rename_now(self, NULL, second, names_find(&self->present, path));
			break;
		case JOURNAL_UNLINK:
			rename_now(self, path, NULL, NULL);
			break;
	}
}

/* Records are where they are, aligned or not. */
static bool
next_record(const disk *self, size_t position, journal_record *record, size_t *end)
{
	if (self->journal_size - position < sizeof(*record))
		return false;
	memcpy(record, self->journal + position, sizeof(*record));
	*end = position + sizeof(*record) + record->path_size + record->second_size +
		record->data_size;
	return *end <= self->journal_size;
}

void
disk_advance(disk *self, size_t until, disk_note note, void *arg)
{
	journal_record record;
	size_t		end;

	while (self->passed < until && next_record(self, self->position, &record, &end))
	{
		const char *at = self->journal + self->position + sizeof(record);
		char		path[PATH_MAX];
		char		second[PATH_MAX];

		snprintf(path, sizeof(path), "%.*s", (int) record.path_size, at);
		at += record.path_size;
		snprintf(second, sizeof(second), "%.*s", (int) record.second_size, at);
		at += record.second_size;
		if (record.type == JOURNAL_NOTE)
			note(arg, at, record.data_size);
		else
			replay(self, &record, path, second, at);
		self->position = end;
		self->passed++;
	}
}

disk *
disk_open(const char *journal)
{
	int			fd = open(journal, O_RDONLY);
	struct stat status;
	disk	   *self;
	journal_record record;
	size_t		end;

	if (fd < 0 || fstat(fd, &status) != 0)
		return NULL;
	self = engine_calloc(sizeof(*self));
	self->journal_size = (size_t) status.st_size;
	self->journal = mmap(NULL, self->journal_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (self->journal == MAP_FAILED)
		fail_msg("cannot map %s", journal);
	for (size_t at = 0; next_record(self, at, &record, &end); at = end)
		self->n_records++;
	return self;
}

size_t
disk_records(const disk *self)
{
	return self->n_records;
}

void
disk_close(disk *self)
{
	names_free(&self->present);
	names_free(&self->durable);
	for (size_t i = 0; i < self->n_renamings; i++)
		renaming_free(&self->renamings[i]);
	for (size_t i = 0; i < MAX_HANDLES; i++)
		free(self->handle_paths[i]);
	while (self->contents != NULL)
	{
		content    *gone = self->contents;

		self->contents = gone->next;
		bytes_free(&gone->durable);
		free(gone->changes);
		free(gone);
	}
	free(self->renamings);
	munmap((void *) self->journal, self->journal_size);
	free(self);
}

/* ---- Images ---- */

static void
write_file(const char *path, const content *of, uint64_t *random)
{
	bytes		data = {0};
	uint64_t	mood = random_below(random, 4);
	FILE	   *file;

	bytes_append(&data, of->durable.data, of->durable.size);
	for (size_t i = 0; i < of->n_changes; i++)
	{
		uint64_t	fate = random_below(random, 3);

		if (mood == 0)
			break;
		if (mood == 1 || fate == 0)
			apply_change(&data, &of->changes[i]);
		else if (fate == 1 && !of->changes[i].resize)
			apply_torn(&data, &of->changes[i], random);
	}
	file = fopen(path, "w");
	/* Its directory was lost. */
	if (file == NULL)
	{
		bytes_free(&data);
		return;
	}
	if (data.size > 0 && fwrite(data.data, 1, data.size, file) != data.size)
		fail_msg("cannot write the image");
	fclose(file);
	bytes_free(&data);
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(((const name *) a)->path, ((const name *) b)->path);
}

void
disk_image(disk *self, const char *directory, uint64_t *random)
{
	names		found = names_copy(&self->durable);
	uint64_t	n_renamings = random_below(random, self->n_renamings + 1);
	char		path[PATH_MAX];

	for (uint64_t i = 0; i < n_renamings; i++)
		names_apply(&found, &self->renamings[i]);
	/* A directory before what is in it. */
	if (found.n > 0)
		qsort(found.list, found.n, sizeof(name), compare_names);
	for (size_t i = 0; i < found.n; i++)
	{
		snprintf(path, sizeof(path), "%s/%s", directory, found.list[i].path);
		if (found.list[i].of->is_directory)
			mkdir(path, 0700);
		else
			write_file(path, found.list[i].of, random);
	}
	names_free(&found);
}
