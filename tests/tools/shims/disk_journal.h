/*
 * disk_journal.h - the journal that disk_journal.so keeps of all that happens to
 * the files below a directory: a sequence of records, each followed by its path,
 * its second path and its data.
 *
 * NORIKV_JOURNAL names the journal, NORIKV_JOURNAL_DIRECTORY the directory. Each
 * call and its record are one step, so the journal's order is what happened.
 */
#ifndef DISK_JOURNAL_H
#define DISK_JOURNAL_H

#include <stddef.h>
#include <stdint.h>

enum
{
	JOURNAL_OPEN = 1,			/* path, handle; flags: created, truncated */
	JOURNAL_WRITE,				/* handle, offset, data */
	JOURNAL_RESIZE,				/* handle, offset: the new size */
	JOURNAL_SYNC,				/* handle; of a file or a directory */
	JOURNAL_MKDIR,				/* path */
	JOURNAL_RENAME,				/* path, second path */
	JOURNAL_LINK,				/* path, second path */
	JOURNAL_UNLINK,				/* path */
	JOURNAL_NOTE				/* data: the program's own */
};

#define JOURNAL_CREATED 1
#define JOURNAL_TRUNCATED 2

typedef struct journal_record
{
	uint32_t	type;
	uint32_t	flags;
	uint32_t	handle;
	uint32_t	path_size;		/* relative to the directory */
	uint32_t	second_size;
	uint32_t	data_size;
	uint64_t	offset;
} journal_record;

/* The exported symbol: void disk_journal_note(const void *data, size_t size). */
#define DISK_JOURNAL_SYMBOL "disk_journal_note"

#endif
