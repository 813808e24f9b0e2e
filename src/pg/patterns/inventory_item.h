/*
 * inventory_item.h - an item of the inventory, with the holds on it.
 */
#ifndef NORIKV_INVENTORY_ITEM_H
#define NORIKV_INVENTORY_ITEM_H

#include "patterns/pattern.h"

/* The keys of reservations: prefix and a UUID. An item's sku must not begin so. */
#define NORIKV_RESERVATION_PREFIX "inventory:reservation:"

/* What a reservation holds back of an item. */
typedef struct NorikvHold
{
	char *reservation; /* a UUID */
	int64 quantity;
	int64 expires_at;	/* store time */
	norikv_slice record; /* the reservation's key */
} NorikvHold;

typedef struct NorikvItem
{
	char *sku;
	int64 quantity;
	int64 reserved;
	int64 last_updated;
	int64 restored; /* of reserved: added again, see inventory_item.c */
	norikv_slice holds_json; /* as it was read */
	NorikvHold *holds;
	int n_holds;
} NorikvItem;

/* P0002 where there is none. */
extern void NorikvReadItem(const NorikvDocument *document,
						   const NorikvConnection *connection, NorikvItem *item);
extern void NorikvAddHold(NorikvItem *item, const char *reservation, int64 quantity,
						  int64 expires_at);
/* -1: the item has none of this reservation. */
extern int NorikvFindHold(const NorikvItem *item, const char *reservation);
extern void NorikvDropHold(NorikvItem *item, int at);
/*
 * Takes back what ran out, and puts right what other programs left: see
 * inventory_item.c. False: records must be read first, which it has asked for.
 * Deletes the records of what it takes back where the attempt is to write.
 */
extern bool NorikvSettleItem(NorikvAttempt *attempt, NorikvItem *item, int64 now,
							 bool writes);
extern void NorikvPutItem(NorikvAttempt *attempt, NorikvDocument *document,
						  NorikvItem *item);
/* The value of an item that has no document yet. */
extern norikv_slice NorikvNewItem(const NorikvItem *item);

#endif
