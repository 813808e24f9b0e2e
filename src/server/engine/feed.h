/*
 * feed.h - tells those who watch what has been committed.
 *
 * The committer adds the changes of each batch, once they are written, to a ring of
 * bounded size; a thread hands them over. Nobody who watches ever holds the committer
 * up: a watcher that does not ask for a while finds its changes in the ring, or learns
 * that they are no longer there. One whose keys do not change costs a commit nothing.
 */
#ifndef NORIKVD_ENGINE_FEED_H
#define NORIKVD_ENGINE_FEED_H

#include "engine.h"

typedef struct feed feed;

/* Changes after this version will be in it. */
extern feed *feed_new(size_t max_bytes, engine_version last);
/* Nobody watches any more. */
extern void feed_free(feed *self);

/* ---- The committer's ---- */

/* Readers may see versions up to this one before they are published. */
extern void feed_expect(feed *self, engine_version version);
/* No version is greater that a reader, or who wrote it, may have seen. Any thread. */
extern engine_version feed_latest(feed *self);
/* What is added between these two is handed over together; last is known then. */
extern void feed_begin(feed *self);
extern void feed_add(feed *self, const engine_change *change);
extern void feed_publish(feed *self, engine_version last);
/* It is not certain what was written: everybody has to look. */
extern void feed_reset(feed *self, engine_version last);

/* ---- Of engine_methods ---- */

extern engine_watch *feed_watch(feed *self, const engine_watch_request *request,
								engine_status *status);
extern void feed_next(engine_watch *watch, size_t max_bytes, engine_changes_done done,
					  void *arg);
extern void feed_cancel(engine_watch *watch);
extern void feed_close(engine_watch *watch);

#endif
