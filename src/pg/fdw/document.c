/*
 * document.c - the fields of a JSON document, found in one pass with PostgreSQL's
 * own parser.
 *
 * A row needs some fields of a document, and most of them as plain text for an
 * input function: making a jsonb of it first would cost several times as much as
 * reading it. Documents of one table mostly have their fields in one order, so the
 * field that came next in the document before is tried first.
 */
#include "fdw/document.h"

#include "mb/pg_wchar.h"

#include "json_parser.h"

struct NorikvFieldReader
{
	NorikvField *fields;
	int n_fields;
	int last;			  /* the field that was found last; n_fields: none yet */
	int *followers;		  /* of each, and of none: what came next before */
	NorikvField *current; /* whose value is being read; NULL: none of ours */
	bool is_object;
	JsonSemAction actions;
	JsonLexContext *lexer;
	JsonParseErrorType error;
#if PG_VERSION_NUM < 170000
	JsonLexContext pristine; /* the lexer as it is before a document */
#endif
};

/* ---- The parser's actions ---- */

NORIKV_JSON_ACTION
object_start(void *state)
{
	NorikvFieldReader *reader = state;

	if (reader->lexer->lex_level == 0)
		reader->is_object = true;
	NORIKV_JSON_ACTION_DONE;
}

static inline bool
is_named(const NorikvField *field, const char *name)
{
	return field->name[0] == name[0] && strcmp(field->name, name) == 0;
}

static NorikvField *
find_field(NorikvFieldReader *reader, const char *name)
{
	int *follower = &reader->followers[reader->last];
	int n = *follower;

	if (!is_named(&reader->fields[n], name))
	{
		for (n = 0; n < reader->n_fields && !is_named(&reader->fields[n], name); n++)
			continue;
		if (n == reader->n_fields)
			return NULL;
		*follower = n;
	}
	reader->last = n;
	return &reader->fields[n];
}

static NorikvFieldKind
kind_of(JsonTokenType token)
{
	switch (token)
	{
		case JSON_TOKEN_NULL:
			return NORIKV_FIELD_NULL;
		case JSON_TOKEN_STRING:
			return NORIKV_FIELD_STRING;
		case JSON_TOKEN_OBJECT_START:
		case JSON_TOKEN_ARRAY_START:
			return NORIKV_FIELD_NESTED;
		default:
			return NORIKV_FIELD_LITERAL;
	}
}

/* The lexer stands at the first token of the value. */
NORIKV_JSON_ACTION
field_start(void *state, char *name, bool is_null)
{
	NorikvFieldReader *reader = state;
	NorikvField *field;

	if (reader->lexer->lex_level != 1)
		NORIKV_JSON_ACTION_DONE;
	field = find_field(reader, name);
	reader->current = field;
	if (field != NULL)
	{
		field->kind = kind_of(reader->lexer->token_type);
		field->json.data = reader->lexer->token_start;
		field->string = NULL;
	}
	NORIKV_JSON_ACTION_DONE;
}

NORIKV_JSON_ACTION
field_end(void *state, char *name, bool is_null)
{
	NorikvFieldReader *reader = state;
	NorikvField *field = reader->current;

	if (field == NULL || reader->lexer->lex_level != 1)
		NORIKV_JSON_ACTION_DONE;
	field->json.size =
		reader->lexer->prev_token_terminator - (const char *) field->json.data;
	reader->current = NULL;
	NORIKV_JSON_ACTION_DONE;
}

NORIKV_JSON_ACTION
scalar(void *state, char *token, JsonTokenType type)
{
	NorikvFieldReader *reader = state;

	if (reader->current != NULL && reader->lexer->lex_level == 1)
		reader->current->string = token;
	NORIKV_JSON_ACTION_DONE;
}

/* ---- Reading ---- */

static void
reset_lexer(NorikvFieldReader *reader, norikv_slice json)
{
#if PG_VERSION_NUM >= 170000
	reader->lexer = makeJsonLexContextCstringLen(reader->lexer, json.data, json.size,
												 GetDatabaseEncoding(), true);
#else
	/* Spares an allocation of a kilobyte for each document. */
	*reader->lexer = reader->pristine;
	reader->lexer->input = reader->lexer->token_terminator =
		reader->lexer->line_start = (char *) json.data;
	reader->lexer->input_length = json.size;
	resetStringInfo(reader->lexer->strval);
#endif
}

NorikvFieldReader *
NorikvMakeFieldReader(NorikvField *fields, int n_fields)
{
	NorikvFieldReader *reader = palloc0(sizeof(NorikvFieldReader));

	reader->fields = fields;
	reader->n_fields = n_fields;
	reader->followers = palloc(sizeof(int) * (n_fields + 1));
	for (int i = 0; i <= n_fields; i++)
		reader->followers[i] = i + 1 < n_fields ? i + 1 : 0;
	reader->actions.semstate = reader;
	reader->actions.object_start = object_start;
	reader->actions.object_field_start = field_start;
	reader->actions.object_field_end = field_end;
	reader->actions.scalar = scalar;
	reader->lexer = NorikvMakeJsonLexer("", 0, GetDatabaseEncoding());
#if PG_VERSION_NUM < 170000
	reader->pristine = *reader->lexer;
#endif
	return reader;
}

NorikvDocumentState
NorikvReadFields(NorikvFieldReader *reader, norikv_slice json)
{
	for (int i = 0; i < reader->n_fields; i++)
		reader->fields[i].kind = NORIKV_FIELD_ABSENT;
	reader->last = reader->n_fields;
	reader->current = NULL;
	reader->is_object = false;
	reset_lexer(reader, json);
	reader->error = pg_parse_json(reader->lexer, &reader->actions);
	if (reader->error != JSON_SUCCESS)
		return NORIKV_DOCUMENT_INVALID;
	return reader->is_object ? NORIKV_DOCUMENT_READ : NORIKV_DOCUMENT_NO_OBJECT;
}

static void
raise_invalid(JsonParseErrorType error, JsonLexContext *lexer)
{
	bool unicode = error == JSON_UNICODE_HIGH_ESCAPE ||
				   error == JSON_UNICODE_CODE_POINT_ZERO;

	ereport(ERROR,
			errcode(unicode ? ERRCODE_UNTRANSLATABLE_CHARACTER
							: ERRCODE_INVALID_TEXT_REPRESENTATION),
			errmsg(unicode ? "value has an escape that is no text"
						   : "value is not valid JSON"),
			errdetail_internal("%s", json_errdetail(error, lexer)));
}

void
NorikvRaiseInvalidDocument(NorikvFieldReader *reader)
{
	raise_invalid(reader->error, reader->lexer);
	pg_unreachable();
}

/* ---- All fields ---- */

typedef struct Visitor
{
	NorikvFieldVisit visit;
	void *arg;
	JsonLexContext *lexer;
	bool is_object;
	const char *value_start;
} Visitor;

NORIKV_JSON_ACTION
visited_object_start(void *state)
{
	Visitor *visitor = state;

	if (visitor->lexer->lex_level == 0)
		visitor->is_object = true;
	NORIKV_JSON_ACTION_DONE;
}

NORIKV_JSON_ACTION
visited_field_start(void *state, char *name, bool is_null)
{
	Visitor *visitor = state;

	if (visitor->lexer->lex_level == 1)
		visitor->value_start = visitor->lexer->token_start;
	NORIKV_JSON_ACTION_DONE;
}

NORIKV_JSON_ACTION
visited_field_end(void *state, char *name, bool is_null)
{
	Visitor *visitor = state;
	norikv_slice json;

	if (visitor->lexer->lex_level != 1)
		NORIKV_JSON_ACTION_DONE;
	json.data = visitor->value_start;
	json.size = visitor->lexer->prev_token_terminator - visitor->value_start;
	visitor->visit(visitor->arg, name, json);
	NORIKV_JSON_ACTION_DONE;
}

NorikvDocumentState
NorikvVisitFields(norikv_slice json, NorikvFieldVisit visit, void *arg, bool soft)
{
	Visitor visitor = {.visit = visit, .arg = arg};
	JsonSemAction actions = {
		.semstate = &visitor,
		.object_start = visited_object_start,
		.object_field_start = visited_field_start,
		.object_field_end = visited_field_end,
	};
	JsonParseErrorType error;

	visitor.lexer = NorikvMakeJsonLexer(json.data, json.size, GetDatabaseEncoding());
	error = pg_parse_json(visitor.lexer, &actions);
	if (error != JSON_SUCCESS && !soft)
		raise_invalid(error, visitor.lexer);
	if (error != JSON_SUCCESS)
		return NORIKV_DOCUMENT_INVALID;
	if (visitor.is_object)
		return NORIKV_DOCUMENT_READ;
	if (!soft)
		ereport(ERROR, errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				errmsg("value is not a JSON object"));
	return NORIKV_DOCUMENT_NO_OBJECT;
}
