/*
 * window.h - what was used of a limit within a sliding window.
 */
#ifndef NORIKV_WINDOW_H
#define NORIKV_WINDOW_H

#include "cas.h"

/* How many requests may be remembered one by one, as other programs do. */
#define NORIKV_MAX_STAMPS 1000
#define NORIKV_BUCKETS 64

/* Requests of one instant, or of a time that ends there. */
typedef struct NorikvUse
{
	int64 at; /* store time, milliseconds; of a bucket: its last */
	int64 count;
} NorikvUse;

typedef struct NorikvWindow
{
	bool in_buckets;
	NorikvUse *uses; /* in the order of time */
	int n_uses;
	int max_uses;
} NorikvWindow;

/* What a document holds; absent: nothing. Raises where it is no such document. */
extern void NorikvReadWindow(NorikvWindow *window, bool in_buckets,
							 const NorikvDocument *document,
							 const NorikvConnection *connection);
extern norikv_slice NorikvWriteWindow(const NorikvWindow *window);

/* Forgets what was at this instant or before. */
extern void NorikvForgetUses(NorikvWindow *window, int64 until);
extern int64 NorikvCountUses(const NorikvWindow *window);
/* At this instant, or at the newest one there is, if that is later. */
extern void NorikvAddUse(NorikvWindow *window, int64 at, int64 count, int64 length_ms);
/* The instant whose passing takes so many out of the window; there are as many. */
extern int64 NorikvWhenFreed(const NorikvWindow *window, int64 count);

#endif
