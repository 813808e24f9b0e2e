/*
 * request.h - what a request asks for, checked and in the engine's words.
 *
 * Nothing here waits or keeps anything: slices point into the message.
 */
#ifndef NORIKVD_REQUEST_H
#define NORIKVD_REQUEST_H

#include "engine.h"
#include "norikv.pb-c.h"
#include "norikv_ext.pb-c.h"

/* Keys of one MultiGet. */
#define REQUEST_MAX_KEYS 100000

#define REQUEST_ERROR_SIZE 256

extern engine_slice request_text(const char *text);
extern engine_slice request_floats(const float *floats, size_t n_floats);

/*
 * Each function is true, or false with a text naming the field, what it was and
 * the limit in error, which has REQUEST_ERROR_SIZE bytes.
 */
extern bool request_consistency(const char *name, engine_consistency *consistency,
								char *error);
extern bool request_get(const Norikv__V1__GetRequest *request, engine_slice *key,
						engine_consistency *consistency, char *error);
extern bool request_put(const Norikv__V1__PutRequest *request, engine_op *op,
						char *error);
extern bool request_delete(const Norikv__V1__DeleteRequest *request, engine_op *op,
						   char *error);
extern bool request_idempotency_key(const char *key, engine_slice *slice, char *error);
extern bool request_multi_get(const Norikv__Ext__V1__MultiGetRequest *request,
							  engine_consistency *consistency, char *error);
/* That many keys, or ids, may be asked for at once. */
extern bool request_count(const char *field, size_t count, char *error);
extern bool request_scan(const Norikv__Ext__V1__ScanRequest *request, engine_scan *scan,
						 char *error);
extern bool request_set_quota(const Norikv__Ext__V1__SetQuotaRequest *request,
							  engine_op *op, char *error);
extern bool request_usage(const Norikv__Ext__V1__UsageRequest *request,
						  engine_slice *prefix, char *error);
extern bool request_vector_scan(const Norikv__Ext__V1__VectorScanRequest *request,
								engine_scan *scan, char *error);
extern bool request_watch(const Norikv__Ext__V1__WatchRequest *request,
						  engine_watch_request *watch, char *error);
/* number counts the operations of the whole Commit. */
extern bool request_operation(const Norikv__Ext__V1__Operation *operation,
							  size_t number, engine_op *op, char *error);
/* No two operations may be on one key: which would be the first? */
extern bool request_distinct_keys(const engine_op *ops, size_t n_ops, char *error);

#endif
