/*
 * guess.h - what a sample of values looks like, for IMPORT FOREIGN SCHEMA.
 */
#ifndef NORIKV_FDW_GUESS_H
#define NORIKV_FDW_GUESS_H

#include "pg_norikv.h"

typedef struct NorikvGuessedField
{
	char *name;		  /* in the database's encoding */
	const char *type; /* of SQL */
	uint32 kinds;	  /* what was seen; guess.c's */
} NorikvGuessedField;

typedef struct NorikvGuess
{
	bool keys_are_text;
	bool any_key; /* false: there was nothing to look at */
	bool documents; /* all values are JSON objects: with these fields */
	NorikvGuessedField *fields;
	int n_fields;
	const char *value_type; /* else: of the whole value */
	/* What was seen; guess.c's. */
	int n_values;
	int n_objects;
	int n_arrays;
	int n_integers;
	int n_texts;
} NorikvGuess;

extern void NorikvGuessInit(NorikvGuess *guess);
/* shown_key: the key without its prefix. */
extern void NorikvGuessAdd(NorikvGuess *guess, norikv_slice shown_key,
						   norikv_slice value);
extern void NorikvGuessFinish(NorikvGuess *guess);

#endif
