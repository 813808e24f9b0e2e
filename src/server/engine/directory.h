/*
 * directory.h - a data directory: who uses it, which format it has, and whether it
 * is the one it was.
 *
 *   LOCK      held by the norikvd that uses it
 *   FORMAT    the format's number
 *   IDENTITY  store id, owner, and which file it is itself: that of a copy is another
 *   RESERVE   up to 16 MiB that are given up when the disk is full: reserve.h
 *   UNCLEAN   written with --sync=off, until the store is closed
 *   db/       RocksDB's
 *   vectors/  snapshots of vector indexes: made again where they are missing
 */
#ifndef NORIKVD_ENGINE_DIRECTORY_H
#define NORIKVD_ENGINE_DIRECTORY_H

#include "engine.h"

#define DIRECTORY_FORMAT 1

typedef struct data_directory data_directory;

/*
 * Creates the directory where there is none. NULL, with *status set, where it is
 * in use, of a newer format, or another directory than the one recorded.
 */
extern data_directory *directory_open(const engine_options *options, engine_log log,
								 engine_status *status);

extern const char *directory_store_id(const data_directory *self);
extern const char *directory_database(const data_directory *self);
extern const char *directory_vectors(const data_directory *self);
/* Of the directory itself, as long as it is open. */
extern int	directory_descriptor(const data_directory *self);
/* Tokens given out before may be lost or live elsewhere: the term must rise. */
extern bool directory_needs_new_term(const data_directory *self);
/* The term is on disk: records the identity, and that writes may be lost. */
extern bool directory_settle(data_directory *self, engine_status *status);

/* All is on disk: a later open need not suspect anything. */
extern void directory_mark_clean(data_directory *self);
extern void directory_close(data_directory *self);

/* The files beside db/, for a copy of the store. */
extern bool directory_copy_records(const data_directory *self, const char *to,
								   engine_status *status);

#endif
