/*
 * key.c - the names of the keys of patterns.
 *
 * A key is a prefix and an id of the user's. Where a pattern has several kinds of
 * keys, an id could spell a key of another kind: such ids are refused.
 */
#include "patterns/pattern.h"

#include "utils/builtins.h"

static norikv_slice
join_key(const char *prefix, norikv_slice id)
{
	size_t prefix_size = strlen(prefix);
	char *key = palloc(prefix_size + id.size);

	memcpy(key, prefix, prefix_size);
	memcpy(key + prefix_size, id.data, id.size);
	return (norikv_slice){key, prefix_size + id.size};
}

norikv_slice
NorikvMakeKey(const char *prefix, const char *id)
{
	return join_key(prefix, NORIKV_SLICE(id));
}

norikv_slice
NorikvPatternKey(const char *prefix, Datum id, const char *argument)
{
	norikv_slice bytes = NorikvBytesFromDatum(id, true);
	size_t prefix_size = strlen(prefix);
	size_t room = prefix_size < NORIKV_MAX_KEY ? NORIKV_MAX_KEY - prefix_size : 0;

	if (bytes.size == 0 || bytes.size > room)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must be 1 to %zu bytes, but it is %zu", argument,
					   room, bytes.size));
	return join_key(prefix, bytes);
}

void
NorikvRefuseId(const char *argument, Datum id, const char *reason)
{
	ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("invalid value for argument \"%s\": \"%s\"", argument,
				   TextDatumGetCString(id)),
			errdetail("%s", reason));
}

bool
NorikvIdIsUnder(Datum id, const char *word)
{
	text *given = DatumGetTextPP(id);
	size_t size = VARSIZE_ANY_EXHDR(given);
	size_t word_size = strlen(word);
	const char *data = VARDATA_ANY(given);

	return size >= word_size && memcmp(data, word, word_size) == 0 &&
		   (size == word_size || data[word_size] == ':');
}

bool
NorikvIsUuid(const char *text)
{
	const int length = 36;

	for (int i = 0; i < length; i++)
	{
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' : !isxdigit((unsigned char) text[i]))
			return false;
	}
	return text[length] == '\0';
}
