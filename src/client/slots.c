/*
 * slots.c - idempotency keys of the client's own: ~nk1/<uuid>/<slot>/<seq>.
 *
 * A server keeps one record per slot, the answer to its last request. So a
 * slot carries one request at a time, and it is the next request in the same
 * slot that makes an abandoned one harmless: from then on the server refuses the
 * lower number. The slot used last is used first again: few records, and the
 * abandoned are superseded soon.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

bool
nk_slots_init(nk_slots *slots)
{
	unsigned char random[16];
	char	   *out = slots->uuid;

	memset(slots, 0, sizeof(*slots));
	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return false;
	random[6] = (random[6] & 0x0f) | 0x40;
	random[8] = (random[8] & 0x3f) | 0x80;
	for (int i = 0; i < 16; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*out++ = '-';
		out += sprintf(out, "%02x", random[i]);
	}
	return true;
}

void
nk_slots_free(nk_slots *slots)
{
	free(slots->sequence);
	free(slots->idle);
	slots->sequence = NULL;
	slots->idle = NULL;
	slots->n_slots = slots->n_idle = slots->capacity = 0;
}

static bool
grow(nk_slots *slots)
{
	uint32_t	capacity = slots->capacity ? slots->capacity * 2 : 16;
	uint64_t   *sequence = realloc(slots->sequence, capacity * sizeof(*sequence));
	uint32_t   *idle;

	if (sequence == NULL)
		return false;
	slots->sequence = sequence;
	idle = realloc(slots->idle, capacity * sizeof(*idle));
	if (idle == NULL)
		return false;
	slots->idle = idle;
	slots->capacity = capacity;
	return true;
}

uint32_t
nk_slot_take(nk_slots *slots, char key[NK_SLOT_KEY_SIZE])
{
	uint32_t	slot;

	if (slots->n_idle > 0)
		slot = slots->idle[--slots->n_idle];
	else
	{
		if (slots->n_slots == slots->capacity && !grow(slots))
			return NK_NO_SLOT;
		slot = slots->n_slots++;
		slots->sequence[slot] = 0;
	}
	snprintf(key, NK_SLOT_KEY_SIZE, WIRE_SLOT_KEY_PREFIX "%s/%" PRIu32 "/%" PRIu64,
			 slots->uuid, slot, ++slots->sequence[slot]);
	return slot;
}

void
nk_slot_give_back(nk_slots *slots, uint32_t slot)
{
	if (slot != NK_NO_SLOT)
		slots->idle[slots->n_idle++] = slot;
}
