/*
 * prefix.c - the part of the store that a client sees: keys under its key_prefix.
 *
 * What must hold, whatever the bytes: a full key begins with the prefix and is
 * longer; a full range lies between the prefix and the first key after all that begin
 * with it; nothing that does not begin with the prefix is shown.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

/* No key of the client's own begins like this, and no slot's. */
#define SCOPE "~nkp/"

/*
 * Two clients with different prefixes must never send one idempotency key, whatever
 * their callers choose. A server may take no bytes but those of text there, so what is
 * not plain is escaped, and so is the slash: the first one after SCOPE ends the prefix.
 */
static bool
make_scope(nk_prefix *prefix)
{
	const unsigned char *bytes = prefix->key.data;
	char	   *at = malloc(sizeof(SCOPE) + 3 * prefix->key.size + 1);

	prefix->scope = at;
	if (at == NULL)
		return false;
	*at = '\0';
	if (prefix->key.size == 0)
		return true;
	at += sprintf(at, SCOPE);
	for (size_t i = 0; i < prefix->key.size; i++)
	{
		if (bytes[i] > ' ' && bytes[i] < 0x7f && bytes[i] != '/' && bytes[i] != '%')
			*at++ = (char) bytes[i];
		else
			at += sprintf(at, "%%%02x", bytes[i]);
	}
	*at++ = '/';
	*at = '\0';
	prefix->scope_size = at - prefix->scope;
	return true;
}

/* norikvd's way: what is printable but a backslash, and \xNN. */
static bool
make_quoted(nk_prefix *prefix)
{
	const unsigned char *bytes = prefix->key.data;
	char	   *at = malloc(4 * prefix->key.size + 2);

	prefix->quoted = at;
	if (at == NULL)
		return false;
	*at++ = '"';
	for (size_t i = 0; i < prefix->key.size; i++)
	{
		if (bytes[i] >= 0x20 && bytes[i] < 0x7f && bytes[i] != '\\')
			*at++ = (char) bytes[i];
		else
			at += sprintf(at, "\\x%02x", bytes[i]);
	}
	*at = '\0';
	return true;
}

bool
nk_prefix_init(nk_prefix *prefix, norikv_slice key, norikv_error *error)
{
	char	   *copy;
	char	   *end;

	if (key.size > NORIKV_MAX_KEY_PREFIX)
	{
		nk_error_set(error, NORIKV_INVALID_ARGUMENT,
					 "key_prefix of %zu bytes is too long, the limit is %d", key.size,
					 NORIKV_MAX_KEY_PREFIX);
		return false;
	}
	copy = malloc(2 * key.size + 1);
	if (copy == NULL)
	{
		nk_error_set(error, NORIKV_RESOURCE_EXHAUSTED, "out of memory");
		return false;
	}
	if (key.size > 0)
		memcpy(copy, key.data, key.size);
	prefix->key = (norikv_slice) {copy, key.size};
	end = copy + key.size;
	prefix->end = (norikv_slice) {end, norikv_prefix_end(prefix->key, end)};
	if (make_scope(prefix) && make_quoted(prefix))
		return true;
	nk_error_set(error, NORIKV_RESOURCE_EXHAUSTED, "out of memory");
	return false;
}

void
nk_prefix_free(nk_prefix *prefix)
{
	free((void *) prefix->key.data);
	free(prefix->quoted);
	free(prefix->scope);
}

size_t
norikv_max_key(const norikv_client *client)
{
	return WIRE_MAX_KEY - client->prefix.key.size;
}

/* ---- What the server gets ---- */

norikv_slice
nk_full_key(const norikv_client *client, norikv_slice key, char *room)
{
	size_t		size = client->prefix.key.size;

	memcpy(room, client->prefix.key.data, size);
	if (key.size > 0)
		memcpy(room + size, key.data, key.size);
	return (norikv_slice) {room, size + key.size};
}

norikv_slice
nk_full_start(const norikv_client *client, norikv_slice start, char *room)
{
	size_t		size = client->prefix.key.size;

	/* the prefix itself is a key, and none of the part */
	if (start.size == 0 && size > 0)
		start = (norikv_slice) {"", 1};
	return nk_full_key(client, start, room);
}

norikv_slice
nk_full_end(const norikv_client *client, norikv_slice end, char *room)
{
	if (end.size > 0)
		return nk_full_key(client, end, room);
	memcpy(room, client->prefix.end.data, client->prefix.end.size);
	return (norikv_slice) {room, client->prefix.end.size};
}

/* ---- What the caller gets ---- */

static int
compare(norikv_slice a, norikv_slice b)
{
	size_t		shorter = a.size < b.size ? a.size : b.size;
	int			order = shorter == 0 ? 0 : memcmp(a.data, b.data, shorter);

	return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

bool
nk_strip_key(const norikv_client *client, norikv_slice *key)
{
	norikv_slice prefix = client->prefix.key;

	if (prefix.size == 0)
		return true;
	if (key->size <= prefix.size || memcmp(key->data, prefix.data, prefix.size) != 0)
		return false;
	key->data = (const char *) key->data + prefix.size;
	key->size -= prefix.size;
	return true;
}

norikv_slice
nk_own_key(const norikv_client *client, norikv_slice key)
{
	nk_strip_key(client, &key);
	return key;
}

void
nk_strip_text(const norikv_client *client, char *text)
{
	const char *quoted = client->prefix.quoted;
	size_t		size = strlen(quoted);

	if (client->prefix.key.size == 0)
		return;
	while ((text = strstr(text, quoted)) != NULL)
	{
		/* the prefix alone is not a key, and would leave nothing to read */
		if (text[size] != '"')
			memmove(text + 1, text + size, strlen(text + size) + 1);
		text++;
	}
}

bool
nk_strip_range(const norikv_client *client, norikv_slice *start, norikv_slice *end)
{
	const nk_prefix *prefix = &client->prefix;
	const norikv_slice empty = {"", 0};

	if (prefix->key.size == 0)
		return true;
	if ((end->size > 0 && compare(*end, prefix->key) <= 0) ||
		(prefix->end.size > 0 && compare(*start, prefix->end) >= 0))
		return false;
	if (!nk_strip_key(client, start))
		*start = empty;
	if (!nk_strip_key(client, end))
		*end = empty;
	return true;
}
