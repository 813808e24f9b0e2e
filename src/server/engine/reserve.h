/*
 * reserve.h - room on the disk that is given up when it is full: the file RESERVE of a
 * data directory, which is named by an open descriptor.
 */
#ifndef NORIKVD_ENGINE_RESERVE_H
#define NORIKVD_ENGINE_RESERVE_H

#include <stdbool.h>

/* Most of it, and at the next call the rest; false where there is none. */
extern bool reserve_release(int directory);
/*
 * As much of the reserve as there is room for, and half as much again. False where
 * that is too little to let puts go on.
 */
extern bool reserve_restore(int directory);

#endif
