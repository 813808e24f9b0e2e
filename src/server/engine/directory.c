/*
 * directory.c - the files of a data directory that are not RocksDB's.
 */
#include "directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "util.h"

#define RECORD_SIZE 4096

/*
 * Where the record of the identity was written, by the file that holds it: a copy
 * of that file is another file, also in the same directory. Device numbers change
 * with a restart of the machine; they count only where the file system knows no
 * time of birth.
 */
typedef struct origin
{
	uint64_t	inode;			/* 0: of a backup, which is nowhere at home */
	uint64_t	born_ns;		/* 0: not known */
	uint64_t	device;
} origin;

typedef struct identity
{
	char		store_id[40];
	origin		origin;
	char	   *owner;			/* NULL: none recorded */
} identity;

struct data_directory
{
	char	   *path;
	char	   *database;
	char	   *vectors;
	int			fd;
	int			lock;
	bool		sync;
	bool		new_term;
	bool		identity_changed;	/* or is not recorded yet */
	identity	identity;
	engine_log	log;
};

/* ---- Small files ---- */

static bool
fail(engine_status *status, const data_directory *self, const char *doing,
	 const char *name)
{
	status_set(status, errno == ENOSPC ? ENGINE_RESOURCE_EXHAUSTED : ENGINE_INTERNAL,
			   "cannot %s \"%s/%s\": %m", doing, self->path, name);
	return false;
}

/* The text of a small file; empty where there is none. */
static bool
read_record(const data_directory *self, const char *name, char text[RECORD_SIZE],
			engine_status *status)
{
	int			fd = openat(self->fd, name, O_RDONLY | O_CLOEXEC);
	ssize_t		size;

	text[0] = '\0';
	if (fd < 0)
		return errno == ENOENT || fail(status, self, "open", name);
	size = read(fd, text, RECORD_SIZE - 1);
	if (size >= 0)
		text[size] = '\0';
	close(fd);
	return size >= 0 || fail(status, self, "read", name);
}

static bool
write_whole(int fd, const char *text, size_t size)
{
	while (size > 0)
	{
		ssize_t		written = write(fd, text, size);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return false;
		text += written;
		size -= (size_t) written;
	}
	return fsync(fd) == 0;
}

/*
 * A record is made under another name and renamed: it is there whole or not at all,
 * and on disk when finish_record returns.
 */
static int
begin_record(const data_directory *self, int at, const char *name, engine_status *status)
{
	char		temporary[64];
	int			fd;

	snprintf(temporary, sizeof(temporary), "%s.tmp", name);
	/* A file of its own, never one that is there already. */
	unlinkat(at, temporary, 0);
	fd = openat(at, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		fail(status, self, "create", temporary);
	return fd;
}

static bool
finish_record(const data_directory *self, int at, const char *name, int fd,
			  const char *text, engine_status *status)
{
	char		temporary[64];
	bool		good = write_whole(fd, text, strlen(text));

	snprintf(temporary, sizeof(temporary), "%s.tmp", name);
	close(fd);
	if (!good)
		return fail(status, self, "write", temporary);
	if (renameat(at, temporary, at, name) != 0 || fsync(at) != 0)
		return fail(status, self, "rename into place", name);
	return true;
}

static bool
write_record(const data_directory *self, int at, const char *name, const char *text,
			 engine_status *status)
{
	int			fd = begin_record(self, at, name, status);

	return fd >= 0 && finish_record(self, at, name, fd, text, status);
}

/* ---- Lock and format ---- */

static bool
take_lock(data_directory *self, engine_status *status)
{
	char		holder[32] = "";
	char		pid[32];

	self->lock = openat(self->fd, "LOCK", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (self->lock < 0)
		return fail(status, self, "open", "LOCK");
	if (flock(self->lock, LOCK_EX | LOCK_NB) != 0)
	{
		if (pread(self->lock, holder, sizeof(holder) - 1, 0) > 0)
			holder[strcspn(holder, "\n")] = '\0';
		status_set(status, ENGINE_ABORTED,
				   "the data directory \"%s\" is in use by another norikvd%s%s",
				   self->path, holder[0] != '\0' ? ", process " : "", holder);
		return false;
	}
	snprintf(pid, sizeof(pid), "%d\n", (int) getpid());
	if (ftruncate(self->lock, 0) != 0 ||
		pwrite(self->lock, pid, strlen(pid), 0) != (ssize_t) strlen(pid))
		self->log(ENGINE_LOG_WARNING, "cannot write the process id to \"%s/LOCK\"",
				  self->path);
	return true;
}

/* Nothing in it but what an earlier start may have left before FORMAT was whole. */
static bool
is_fresh(const data_directory *self)
{
	DIR		   *listing = opendir(self->path);
	struct dirent *found;
	bool		fresh = listing != NULL;

	while (fresh && (found = readdir(listing)) != NULL)
		fresh = strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0 ||
			strcmp(found->d_name, "LOCK") == 0 ||
			strcmp(found->d_name, "FORMAT.tmp") == 0 ||
			strcmp(found->d_name, "lost+found") == 0 ||
			strcmp(found->d_name, "run") == 0;	/* where sockets may be */
	if (listing != NULL)
		closedir(listing);
	return fresh;
}

static bool
check_format(const data_directory *self, engine_status *status)
{
	char		text[RECORD_SIZE];
	int			format = 0;

	if (!read_record(self, "FORMAT", text, status))
		return false;
	if (sscanf(text, "norikv %d", &format) == 1 && format == DIRECTORY_FORMAT)
		return true;
	if (format > DIRECTORY_FORMAT)
		status_set(status, ENGINE_FAILED_PRECONDITION,
				   "the data directory \"%s\" has format %d, this norikvd knows formats "
				   "up to %d: start the newer norikvd that wrote it, or restore a backup "
				   "of its own time", self->path, format, DIRECTORY_FORMAT);
	else if (is_fresh(self))
	{
		snprintf(text, sizeof(text), "norikv %d\n", DIRECTORY_FORMAT);
		return write_record(self, self->fd, "FORMAT", text, status);
	}
	else
		status_set(status, ENGINE_FAILED_PRECONDITION,
				   "\"%s\" is not empty and no norikv data directory: name another one, "
				   "or an empty one", self->path);
	return false;
}

/* ---- Identity ---- */

static bool
origin_of(int at, const char *name, origin *self)
{
	struct statx found;

	if (statx(at, name, name[0] == '\0' ? AT_EMPTY_PATH : 0, STATX_INO | STATX_BTIME,
			  &found) != 0)
		return false;
	*self = (origin) {.inode = found.stx_ino};
	self->device = (uint64_t) makedev(found.stx_dev_major, found.stx_dev_minor);
	if (found.stx_mask & STATX_BTIME)
		self->born_ns = (uint64_t) found.stx_btime.tv_sec * 1000000000 +
			found.stx_btime.tv_nsec;
	return true;
}

static bool
same_origin(const origin *a, const origin *b)
{
	if (a->inode != b->inode)
		return false;
	if (a->born_ns != 0 && b->born_ns != 0)
		return a->born_ns == b->born_ns;
	return a->device == b->device;
}

static bool
write_identity(const data_directory *self, int at, const identity *written, bool at_home,
			   engine_status *status)
{
	char		text[RECORD_SIZE];
	origin		here = {0};
	int			fd = begin_record(self, at, "IDENTITY", status);

	if (fd < 0)
		return false;
	if (at_home && !origin_of(fd, "", &here))
	{
		fail(status, self, "examine", "IDENTITY");
		close(fd);
		return false;
	}
	snprintf(text, sizeof(text), "store %s\ninode %" PRIu64 "\nborn %" PRIu64
			 "\ndevice %" PRIu64 "\n%s%s%s", written->store_id, here.inode,
			 here.born_ns, here.device, written->owner != NULL ? "owner " : "",
			 written->owner != NULL ? written->owner : "",
			 written->owner != NULL ? "\n" : "");
	return finish_record(self, at, "IDENTITY", fd, text, status);
}

static bool
identity_parse(char *text, identity *self)
{
	char	   *owner = strstr(text, "\nowner ");
	origin	   *from = &self->origin;

	*self = (identity) {0};
	if (owner != NULL)
	{
		owner += strlen("\nowner ");
		owner[strcspn(owner, "\n")] = '\0';
		self->owner = engine_strdup(owner);
	}
	return sscanf(text, "store %36s inode %" SCNu64 " born %" SCNu64 " device %" SCNu64,
				  self->store_id, &from->inode, &from->born_ns, &from->device) == 4;
}

/* An owner moves into a store that had none, and one that names none is let in. */
static bool
is_foreign(const identity *recorded, const char *owner)
{
	return recorded->owner != NULL && owner != NULL &&
		strcmp(recorded->owner, owner) != 0;
}

static bool
accept_identity(data_directory *self, const identity *recorded,
				const engine_options *options, engine_status *status)
{
	bool		copied = !same_origin(&recorded->origin, &self->identity.origin);
	bool		foreign = is_foreign(recorded, options->owner);

	self->new_term = options->adopt;
	if (options->adopt || (!copied && !foreign))
		return true;
	if (copied)
		status_set(status, ENGINE_FAILED_PRECONDITION,
				   "the data directory \"%.150s\" was copied or restored: its IDENTITY "
				   "is not the file that was written for it. If the original is out of "
				   "use, take the copy over with --adopt: versions then rise above all "
				   "that were given out", self->path);
	else
		status_set(status, ENGINE_FAILED_PRECONDITION,
				   "the data directory \"%.150s\" belongs to %.100s, not to %.100s. "
				   "Take it over with --adopt", self->path, recorded->owner,
				   options->owner);
	return false;
}

static bool
check_identity(data_directory *self, const engine_options *options, engine_status *status)
{
	char		text[RECORD_SIZE];
	identity	recorded = {0};
	bool		good;

	self->identity.owner = options->owner != NULL ? engine_strdup(options->owner) : NULL;
	if (!read_record(self, "IDENTITY", text, status))
		return false;
	if (text[0] == '\0')
	{
		random_uuid(self->identity.store_id);
		self->identity_changed = true;
		return true;
	}
	if (!origin_of(self->fd, "IDENTITY", &self->identity.origin))
		return fail(status, self, "examine", "IDENTITY");
	good = identity_parse(text, &recorded);
	if (good)
		good = accept_identity(self, &recorded, options, status);
	else
		status_set(status, ENGINE_DATA_LOSS, "\"%s/IDENTITY\" is damaged", self->path);
	memcpy(self->identity.store_id, recorded.store_id, sizeof(recorded.store_id));
	self->identity_changed = options->adopt ||
		(options->owner != NULL && recorded.owner == NULL);
	if (self->identity.owner == NULL)
		self->identity.owner = recorded.owner;
	else
		free(recorded.owner);
	return good;
}

static void
check_last_end(data_directory *self)
{
	if (faccessat(self->fd, "UNCLEAN", F_OK, 0) != 0)
		return;
	self->log(ENGINE_LOG_WARNING, "the store ran with --sync=off and was not closed: "
			  "writes may be lost; versions go on in a new term");
	self->new_term = true;
}

/* ---- Opening ---- */

/* A directory whose own name is not on disk would be lost with all that is in it. */
static void
sync_parent(const data_directory *self)
{
	int			parent = openat(self->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (parent < 0 || fsync(parent) != 0)
		self->log(ENGINE_LOG_WARNING, "cannot sync the directory above \"%s\": %m",
				  self->path);
	if (parent >= 0)
		close(parent);
}

static bool
open_path(data_directory *self, engine_status *status)
{
	bool		made = mkdir(self->path, 0700) == 0;

	if (!made && errno != EEXIST)
	{
		status_set(status, ENGINE_INTERNAL, "cannot create the data directory \"%s\": %m",
				   self->path);
		return false;
	}
	self->fd = open(self->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (self->fd < 0)
	{
		status_set(status, ENGINE_INTERNAL, "cannot open the data directory \"%s\": %m",
				   self->path);
		return false;
	}
	if (made)
		sync_parent(self);
	return true;
}

data_directory *
directory_open(const engine_options *options, engine_log log, engine_status *status)
{
	data_directory *self;

	if (options->data_dir == NULL || options->data_dir[0] == '\0')
	{
		status_set(status, ENGINE_INVALID_ARGUMENT,
				   "the rocksdb engine needs a data directory: --data-dir");
		return NULL;
	}
	self = engine_calloc(sizeof(*self));
	self->path = engine_strdup(options->data_dir);
	self->database = engine_malloc(strlen(self->path) + sizeof("/db"));
	sprintf(self->database, "%s/db", self->path);
	self->vectors = engine_malloc(strlen(self->path) + sizeof("/vectors"));
	sprintf(self->vectors, "%s/vectors", self->path);
	self->fd = -1;
	self->lock = -1;
	self->sync = options->sync;
	self->log = log;
	if (!open_path(self, status) || !take_lock(self, status) ||
		!check_format(self, status) || !check_identity(self, options, status))
	{
		directory_close(self);
		return NULL;
	}
	check_last_end(self);
	return self;
}

void
directory_close(data_directory *self)
{
	if (self->lock >= 0)
		close(self->lock);
	if (self->fd >= 0)
		close(self->fd);
	free(self->identity.owner);
	free(self->database);
	free(self->vectors);
	free(self->path);
	free(self);
}

const char *
directory_store_id(const data_directory *self)
{
	return self->identity.store_id;
}

const char *
directory_database(const data_directory *self)
{
	return self->database;
}

const char *
directory_vectors(const data_directory *self)
{
	return self->vectors;
}

int
directory_descriptor(const data_directory *self)
{
	return self->fd;
}

bool
directory_needs_new_term(const data_directory *self)
{
	return self->new_term;
}

/* ---- Running ---- */

bool
directory_settle(data_directory *self, engine_status *status)
{
	if (self->identity_changed &&
		!write_identity(self, self->fd, &self->identity, true, status))
		return false;
	self->identity_changed = false;
	if (!self->sync && !write_record(self, self->fd, "UNCLEAN", "", status))
		return false;
	if (self->sync)
		directory_mark_clean(self);
	return true;
}

void
directory_mark_clean(data_directory *self)
{
	if (unlinkat(self->fd, "UNCLEAN", 0) == 0)
		fsync(self->fd);
}

/* ---- Copies ---- */

/* A backup is at home nowhere: it has to be adopted, also in the original's place. */
bool
directory_copy_records(const data_directory *self, const char *to, engine_status *status)
{
	char		text[RECORD_SIZE];
	int			fd = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool		good;

	if (fd < 0)
	{
		status_set(status, ENGINE_INTERNAL, "cannot open \"%s\": %m", to);
		return false;
	}
	good = write_identity(self, fd, &self->identity, false, status);
	snprintf(text, sizeof(text), "norikv %d\n", DIRECTORY_FORMAT);
	good = good && write_record(self, fd, "FORMAT", text, status);
	close(fd);
	return good;
}
