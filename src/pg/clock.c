/*
 * clock.c - store time, as far as it is known here.
 *
 * Expiries, leases and windows are instants of the store's clock, and the clocks of
 * PostgreSQL's machines may be hours off. So Info's store time is asked every few
 * seconds, and between that CLOCK_BOOTTIME counts, which nobody sets. The store's
 * clock follows its own CLOCK_BOOTTIME to within 0.05 %.
 */
#include "pg_norikv.h"

#include <time.h>

#define MAX_AGE_US (3 * INT64CONST(1000000))
/* What two clocks can come apart: 0.05 %, and a little for those of two machines. */
#define MAX_DRIFT 0.0006

int64
NorikvBootMicroseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64
wall_clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void
NorikvKeepStoreTime(NorikvConnection *connection, uint64 store_time_ms, int64 asked_us,
					int64 answered_us)
{
	connection->store_time_ms = store_time_ms != 0 && store_time_ms <= PG_INT64_MAX / 1000
									? (int64) store_time_ms
									: wall_clock_ms();
	connection->store_time_after_us = asked_us;
	connection->store_time_before_us = answered_us;
}

/*
 * What passed since the store's answer was true: between answered - now and asked - now.
 * The answer was cut to whole milliseconds.
 */
NorikvStoreTimes
NorikvGetStoreTimes(NorikvConnection *connection)
{
	int64 now_us = NorikvBootMicroseconds();
	int64 least_us;
	int64 most_us;
	int64 drift_us;

	if (connection->store_time_ms == 0 ||
		now_us - connection->store_time_after_us > MAX_AGE_US)
	{
		NorikvAskInfo(connection);
		now_us = NorikvBootMicroseconds();
	}
	least_us = now_us - connection->store_time_before_us;
	most_us = now_us - connection->store_time_after_us;
	drift_us = most_us * MAX_DRIFT;
	return (NorikvStoreTimes){
		.earliest = connection->store_time_ms + (least_us - drift_us) / 1000,
		.latest = connection->store_time_ms + (most_us + drift_us) / 1000 + 1,
	};
}

int64
NorikvStoreTime(NorikvConnection *connection)
{
	NorikvStoreTimes times = NorikvGetStoreTimes(connection);

	return times.earliest + (times.latest - times.earliest) / 2;
}
