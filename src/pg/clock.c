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

int64
NorikvBootMilliseconds(void)
{
	return NorikvBootMicroseconds() / 1000;
}

static int64
wall_clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* What is known of it, drawn on to now. */
static NorikvStoreTimes
times_at(const NorikvConnection *connection, int64 now_us)
{
	int64 elapsed_us = now_us - connection->store_times_at_us;
	int64 drift_us = elapsed_us * MAX_DRIFT;

	return (NorikvStoreTimes){
		.earliest = connection->store_earliest_ms + (elapsed_us - drift_us) / 1000,
		.latest = connection->store_latest_ms + (elapsed_us + drift_us) / 1000 + 1,
	};
}

/*
 * The store told its time, cut to milliseconds, some time between question and answer. A
 * slow answer says less than what was known before it, which is then kept; the two
 * contradict each other only where it is another store.
 */
void
NorikvKeepStoreTime(NorikvConnection *connection, uint64 store_time_ms, int64 asked_us,
					int64 answered_us)
{
	NorikvStoreTimes known = times_at(connection, answered_us);
	NorikvStoreTimes told;
	bool is_told = store_time_ms != 0 && store_time_ms <= PG_INT64_MAX / 1000;

	told.earliest = is_told ? (int64) store_time_ms : wall_clock_ms();
	told.latest = told.earliest + 1 + (is_told ? (answered_us - asked_us) / 1000 + 1 : 0);
	if (connection->store_times_at_us != 0 && known.earliest <= told.latest &&
		told.earliest <= known.latest)
	{
		told.earliest = Max(told.earliest, known.earliest);
		told.latest = Min(told.latest, known.latest);
	}
	connection->store_earliest_ms = told.earliest;
	connection->store_latest_ms = told.latest;
	connection->store_times_at_us = answered_us;
}

NorikvStoreTimes
NorikvGetStoreTimes(NorikvConnection *connection)
{
	int64 now_us = NorikvBootMicroseconds();

	if (connection->store_times_at_us == 0 ||
		now_us - connection->store_times_at_us > MAX_AGE_US)
	{
		NorikvAskInfo(connection);
		now_us = NorikvBootMicroseconds();
	}
	return times_at(connection, now_us);
}

int64
NorikvStoreTime(NorikvConnection *connection)
{
	NorikvStoreTimes times = NorikvGetStoreTimes(connection);

	return times.earliest + (times.latest - times.earliest) / 2;
}
