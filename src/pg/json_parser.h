/*
 * json_parser.h - PostgreSQL's own JSON parser, alike in all its versions: before 16
 * its actions return nothing, before 17 its lexer is made with one argument less.
 */
#ifndef NORIKV_JSON_PARSER_H
#define NORIKV_JSON_PARSER_H

#include "postgres.h"

#include "common/jsonapi.h"

#if PG_VERSION_NUM >= 160000
#define NORIKV_JSON_ACTION static JsonParseErrorType
#define NORIKV_JSON_ACTION_DONE return JSON_SUCCESS
#else
#define NORIKV_JSON_ACTION static void
#define NORIKV_JSON_ACTION_DONE return
#endif

static inline JsonLexContext *
NorikvMakeJsonLexer(const char *json, size_t size, int encoding)
{
#if PG_VERSION_NUM >= 170000
	return makeJsonLexContextCstringLen(NULL, json, size, encoding, true);
#else
	return makeJsonLexContextCstringLen((char *) json, size, encoding, true);
#endif
}

#endif
