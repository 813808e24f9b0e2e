/*
 * log.h - norikvd's log: one line each on stderr, "level: text".
 */
#ifndef NORIKVD_LOG_H
#define NORIKVD_LOG_H

#include "engine.h"

extern void log_set_level(engine_log_level level);

/* "error", "warning", "info" or "debug". */
extern bool log_level_parse(const char *name, engine_log_level *level);

/* Keys and values only at ENGINE_LOG_DEBUG. Any thread, any time. */
extern void log_line(engine_log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* gRPC's own messages become debug lines. Before grpc_init(). */
extern void log_take_over_grpc(void);

#endif
