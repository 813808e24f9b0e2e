/*
 * meta.c - numbers by name.
 */
#include "meta.h"

#include "util.h"

bool
meta_get(table *from, const char *name, uint64_t *number, engine_status *status)
{
	table_value value;
	bool		good;

	*number = 0;
	if (!from->methods->read_begin(from, status))
		return false;
	good = from->methods->get(from, TABLE_META, slice_of(name, strlen(name)), &value,
							  status);
	if (good && value.found)
	{
		good = value.bytes.size == 8;
		if (good)
			*number = load_u64(value.bytes.data);
		else
			status_set(status, ENGINE_DATA_LOSS, "the store's \"%s\" is damaged", name);
	}
	if (good || value.found)
		from->methods->release(from, &value, 1);
	from->methods->read_end(from);
	return good;
}

void
meta_put(table *to, const char *name, uint64_t number)
{
	char		buffer[8];

	store_u64(buffer, number);
	to->methods->put(to, TABLE_META, slice_of(name, strlen(name)),
					 slice_of(buffer, sizeof(buffer)), slice_of(NULL, 0));
}

bool
meta_get_time(table *from, store_time_mark *mark, engine_status *status)
{
	return meta_get(from, META_TIME_BOUND, &mark->bound_ms, status) &&
		meta_get(from, META_TIME_STORE, &mark->store_ms, status) &&
		meta_get(from, META_TIME_BOOT, &mark->boot_ms, status) &&
		meta_get(from, META_TIME_RUN, &mark->run, status);
}

void
meta_put_time(table *to, const store_time_mark *mark)
{
	meta_put(to, META_TIME_BOUND, mark->bound_ms);
	meta_put(to, META_TIME_STORE, mark->store_ms);
	meta_put(to, META_TIME_BOOT, mark->boot_ms);
	meta_put(to, META_TIME_RUN, mark->run);
}
