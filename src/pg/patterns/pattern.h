/*
 * pattern.h - what the patterns share: how a document is described, the names of
 * keys, and what an error says of a document that is broken.
 *
 * A pattern is a description of its document (an array of NorikvFieldRule over a
 * struct), a step from the old document to the new one, which reads no clock and asks
 * no server, and SQL functions that hand the step to NorikvRunStep. docs/internals.md,
 * "How to add a pattern", goes through one.
 */
#ifndef NORIKV_PATTERN_H
#define NORIKV_PATTERN_H

#include "cas.h"

#include "lib/stringinfo.h"

/* Above it a number in JavaScript is not the one that was written. */
#define NORIKV_MAX_SAFE_INTEGER ((INT64CONST(1) << 53) - 1)

/* ---- document.c: JSON documents that other programs read and write, too ---- */

/* What a field holds, and as what it stands in the struct. */
typedef enum NorikvFieldType
{
	NORIKV_TYPE_TEXT,	 /* char *, in the database's encoding; NULL: absent */
	NORIKV_TYPE_INTEGER, /* int64 that JavaScript has, too; 3.0 and 3e0 are 3 */
	NORIKV_TYPE_TOKEN,	 /* int64: fencing tokens grow beyond that, and stay exact */
	NORIKV_TYPE_NUMBER,	 /* double; Infinity, as JavaScript writes it: null */
	NORIKV_TYPE_INSTANT, /* int64, milliseconds since 1970; fractions are cut off */
	NORIKV_TYPE_BOOLEAN, /* bool */
	NORIKV_TYPE_TEXTS,	 /* NorikvTexts; what is no text in it is broken */
	NORIKV_TYPE_JSON	 /* norikv_slice: as it stands there; data NULL: absent */
} NorikvFieldType;

typedef struct NorikvTexts
{
	char **texts;
	int count;
} NorikvTexts;

typedef struct NorikvFieldRule
{
	const char *name;
	NorikvFieldType type;
	size_t offset;	/* in the struct */
	bool required;	/* without it, or null, the document is broken */
	double absent;	/* of a number, integer or instant that is not required: read for
					 * one that is not there, and not written */
} NorikvFieldRule;

#define NORIKV_FIELD(name, type, record, member) \
	{name, type, offsetof(record, member), true, 0}
#define NORIKV_OPTIONAL(name, type, record, member, absent) \
	{name, type, offsetof(record, member), false, absent}

typedef struct NorikvDocumentRule
{
	const char *what; /* "session": a broken one "is no session" */
	const NorikvFieldRule *fields;
	int n_fields;
	size_t size; /* of the struct */
} NorikvDocumentRule;

/*
 * Fills the struct; all of it is in the current memory context. A document that is not
 * UTF-8 (22021), no JSON or not of these fields (22P02), or has \u0000 in it (22P05) is an
 * error that names its key, so that nothing is written over it. With present not set it
 * is what is about to be written: 22023.
 */
extern void NorikvReadRecord(const NorikvDocumentRule *rule,
							 const NorikvDocument *document,
							 const NorikvConnection *connection, void *record);

/*
 * The document as a value: its fields in the order of the rule, then those of the old
 * one that the rule does not know, as they stood there. old NULL: a new document.
 * 22003 for a number that JavaScript cannot hold, 54000 where it is too large.
 */
extern norikv_slice NorikvWriteRecord(const NorikvDocumentRule *rule, const void *record,
									  const NorikvDocument *old);
/* The same; false where it is too large for a value. */
extern bool NorikvTryWriteRecord(const NorikvDocumentRule *rule, const void *record,
								 const NorikvDocument *old, norikv_slice *value);

/* For what no rule describes: a broken document, named by its key, and why. */
extern void NorikvRaiseBroken(const NorikvConnection *connection, norikv_slice key,
							  const char *what, const char *detail)
	pg_attribute_noreturn();


/* ---- key.c: names of keys ---- */

/* prefix and the argument, as UTF-8; 22023 where it is empty or the key too long. */
extern norikv_slice NorikvPatternKey(const char *prefix, Datum id, const char *argument);
/* The same of bytes: an id that is known to be one. */
extern norikv_slice NorikvMakeKey(const char *prefix, const char *id);
/* Of an id that would meet other keys: 22023, with the reason. */
extern void NorikvRefuseId(const char *argument, Datum id, const char *reason)
	pg_attribute_noreturn();
/* Whether the id is word, or starts with word and a colon. */
extern bool NorikvIdIsUnder(Datum id, const char *word);
/* Whether it is spelt as uuid_out does, and JavaScript. */
extern bool NorikvIsUuid(const char *text);

#endif
