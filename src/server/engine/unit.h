/*
 * unit.h - what can be said of a unit without looking into the store.
 */
#ifndef NORIKVD_ENGINE_UNIT_H
#define NORIKVD_ENGINE_UNIT_H

#include "engine.h"

#define UNIT_MAX_KEY 1024
#define UNIT_MAX_VALUE (1024 * 1024)
#define UNIT_MAX_OPS 100000
#define UNIT_MAX_BYTES (64 * 1024 * 1024)
#define UNIT_MAX_IDEMPOTENCY_KEY 512
/* A hundred years of 365.25 days. */
#define UNIT_MAX_TTL_MS (UINT64_C(36525) * 24 * 3600 * 1000)

/*
 * False, with the outcome's status and operation set, where no store could carry
 * the unit out: a key or value of no allowed size, two operations on one key.
 * Also fills in unit->bytes.
 */
extern bool unit_check(engine_unit *unit, engine_outcome *outcome);
/* It reads or changes more than its keys: no other unit's writes may be pending. */
extern bool unit_stands_alone(const engine_unit *unit);

#endif
