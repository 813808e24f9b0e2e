/*
 * idempotency.h - remembered answers, so that a repeated request is executed
 * once.
 *
 * A caller's own key is remembered for a day, if the request changed anything.
 * A key of our client, ~nk1/<client uuid>/<slot>/<sequence>, names a slot that
 * is used for one request at a time: one record a slot, replaced by the next
 * sequence number, dropped an hour after its last use. A slot remembers every
 * answer, refusals as well: an attempt that arrives long after the client went
 * on must find that its number was used. (Refusals are not synced for this alone:
 * they outlive the process, and a power failure takes late attempts with it.)
 */
#ifndef NORIKVD_ENGINE_IDEMPOTENCY_H
#define NORIKVD_ENGINE_IDEMPOTENCY_H

#include "batch.h"

#define IDEMPOTENCY_RECORD_MS (UINT64_C(24) * 3600 * 1000)
#define IDEMPOTENCY_SLOT_MS (UINT64_C(3600) * 1000)
#define IDEMPOTENCY_SLOT_PREFIX "~nk1/"

extern bool idempotency_key_check(const engine_unit *unit, engine_status *status);
extern idempotency_key idempotency_key_of(const engine_unit *unit, arena *memory);

/* True where the plan has its outcome: a repeat, or a refusal. */
extern bool idempotency_answer(batch *self, plan *of);
/* Keeps the plan's outcome in the batch. */
extern void idempotency_remember(batch *self, const plan *of);

/* For the sweep. Records that cannot be read count as expired. */
extern bool idempotency_expired(engine_slice record, uint64_t now_ms);
extern bool idempotency_is_slot(engine_slice stored_key);

#endif
