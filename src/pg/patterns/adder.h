/*
 * adder.h - adding to a key with a number in decimal ASCII.
 */
#ifndef NORIKV_ADDER_H
#define NORIKV_ADDER_H

#include "pg_norikv.h"

/*
 * Once, whatever gets lost in between; the number there after this step. 22003 where it
 * would not be one of 64 bits, 22P02 where the key holds none.
 */
extern int64 NorikvAddToCounter(NorikvConnection *connection, const char *sql_name,
								norikv_slice key, int64 delta,
								norikv_slice idempotency_key);

/* Of a value as it was read: 22P02 where it is no number. */
extern int64 NorikvCounterValue(const NorikvConnection *connection, norikv_slice key,
								norikv_slice value);
extern norikv_slice NorikvShowCounter(int64 number);

#endif
