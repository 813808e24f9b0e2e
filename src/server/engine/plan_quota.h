/*
 * plan_quota.h - the quotas' say in what a unit does.
 */
#ifndef NORIKVD_ENGINE_PLAN_QUOTA_H
#define NORIKVD_ENGINE_PLAN_QUOTA_H

#include "batch.h"

/*
 * Counts what n operations from first on, which are in order, change, and which will
 * be applied. False: a quota refuses them; then nothing is counted, the result of the
 * operation *at_fault says why.
 */
extern bool plan_admit(batch *self, plan *of, size_t first, size_t n, size_t *at_fault);

#endif
