/*
 * words.h - words in the text of a status that tell a client what no code tells.
 *
 * UNAVAILABLE says neither whether a write took effect nor who answers: gRPC says it
 * of a connection that broke. So a server that knows says these words, anywhere in
 * its text, and a client that finds none of them takes the outcome for unknown. A
 * server that says them must mean them. They never change: servers and clients
 * of different versions meet.
 */
#ifndef NORIKV_WORDS_H
#define NORIKV_WORDS_H

/* The request was refused, and the same one may succeed later. */
#define WORDS_NOTHING_DONE "nothing was done"
#define WORDS_NOTHING_WRITTEN "nothing was written"
#define WORDS_SHUTTING_DOWN "this server is shutting down"
#define WORDS_TRY_AGAIN ": try again"
/* NoriKV's own server says it. */
#define WORDS_NOT_LEADER "NOT_LEADER"

/* With whatever code: the write may have taken effect. */
#define WORDS_OUTCOME_UNKNOWN "outcome unknown"

/* FAILED_PRECONDITION of a version starts like this; a version, or "absent", each. */
#define WORDS_MISMATCH "Version mismatch"
#define WORDS_MISMATCH_EXPECTED "expected "
#define WORDS_MISMATCH_PRESENT ", present "
#define WORDS_ABSENT "absent"
#define WORDS_MISMATCH_FORMAT \
	WORDS_MISMATCH ": " WORDS_MISMATCH_EXPECTED "%s" WORDS_MISMATCH_PRESENT "%s"

/* RESOURCE_EXHAUSTED of a quota starts like this. */
#define WORDS_QUOTA "quota of prefix "

#endif
