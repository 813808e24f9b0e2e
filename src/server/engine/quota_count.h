/*
 * quota_count.h - how a quota counts what is there already.
 */
#ifndef NORIKVD_ENGINE_QUOTA_COUNT_H
#define NORIKVD_ENGINE_QUOTA_COUNT_H

#include "quotas.h"

/* Whether the quota has come as far as this. */
extern bool quota_counts(const quota *self, const quota_item *item);
/* The position is before all that the quota counts. */
extern void quota_count_from_start(quota *self);
/*
 * Counts about n items on from the position, within a section of the table; at the end
 * it no longer counts. False: the table could not be read, nothing has changed.
 */
extern bool quota_count_step(table *in, quota *self, size_t n);

#endif
