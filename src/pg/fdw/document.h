/*
 * document.h - the fields of a JSON document, found in one pass.
 */
#ifndef NORIKV_FDW_DOCUMENT_H
#define NORIKV_FDW_DOCUMENT_H

#include "pg_norikv.h"

typedef enum NorikvFieldKind
{
	NORIKV_FIELD_ABSENT,
	NORIKV_FIELD_NULL,
	NORIKV_FIELD_STRING,
	NORIKV_FIELD_LITERAL, /* a number, true or false */
	NORIKV_FIELD_NESTED	  /* an object or array */
} NorikvFieldKind;

typedef struct NorikvField
{
	/* What is looked for. */
	const char *name;
	/* What was found, the last one where there are several, as jsonb has it. */
	NorikvFieldKind kind;
	char *string;	   /* of a string or literal, without quotes and escapes */
	norikv_slice json; /* as it stands in the document */
} NorikvField;

typedef struct NorikvFieldReader NorikvFieldReader;

/* The array of fields is the caller's, and is filled by each document. */
extern NorikvFieldReader *NorikvMakeFieldReader(NorikvField *fields, int n_fields);

typedef enum NorikvDocumentState
{
	NORIKV_DOCUMENT_READ,
	NORIKV_DOCUMENT_NO_OBJECT, /* JSON, but something else */
	NORIKV_DOCUMENT_INVALID
} NorikvDocumentState;

/*
 * json is in the database's encoding and was checked for it. Strings are in the
 * current memory context, slices point into json.
 */
extern NorikvDocumentState NorikvReadFields(NorikvFieldReader *reader, norikv_slice json);
/* Of the document that was last read, which is invalid. */
extern void NorikvRaiseInvalidDocument(NorikvFieldReader *reader) pg_attribute_noreturn();

/* A field: its name without quotes and escapes, its value as it stands there. */
typedef void (*NorikvFieldVisit)(void *arg, const char *name, norikv_slice json);

/*
 * All fields of an object, in their order. Anything else is an error, or with soft
 * set a state; some fields may have been visited then.
 */
extern NorikvDocumentState NorikvVisitFields(norikv_slice json, NorikvFieldVisit visit,
											 void *arg, bool soft);

#endif
