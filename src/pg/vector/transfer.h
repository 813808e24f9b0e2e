/*
 * transfer.h - between transfer.c and transfer_error.c. libcurl's header stays out of
 * everything else.
 */
#ifndef NORIKV_TRANSFER_H
#define NORIKV_TRANSFER_H

#include <curl/curl.h>

#include "vector/embedder.h"

/* How a request ended that did not end well. */
typedef struct NorikvFailure
{
	CURLcode code;
	long status;	   /* of HTTP; 0: there was no answer */
	const char *words; /* libcurl's */
	const char *body;  /* of the answer; bytes */
	size_t body_size;
	bool too_large;
	long retry_after; /* seconds; 0: not said */
} NorikvFailure;

extern void NorikvRaiseFailure(const NorikvEmbedderOptions *options,
							   const NorikvFailure *failure) pg_attribute_noreturn();

#endif
