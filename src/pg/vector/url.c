/*
 * url.c - the addresses of embedding services.
 */
#include "vector/embedder.h"

#include <curl/curl.h>

/* A part of the URL, in the current memory context; NULL: it has none. */
static char *
get_part(CURLU *url, CURLUPart part, unsigned int flags)
{
	char *value = NULL;
	char *copy = NULL;

	if (curl_url_get(url, part, &value, flags) == CURLUE_OK)
		copy = pstrdup(value);
	curl_free(value);
	return copy;
}

static const char *
find_fault(CURLU *url)
{
	const char *scheme = get_part(url, CURLUPART_SCHEME, 0);

	if (scheme == NULL ||
		(strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
		return "It must start with https:// or http://.";
	if (get_part(url, CURLUPART_USER, 0) != NULL ||
		get_part(url, CURLUPART_PASSWORD, 0) != NULL)
		return "It must not have a user or a password in it: the key is the option "
			   "\"embedding_api_key\" of the user mapping.";
	return NULL;
}

const char *
NorikvCheckEmbeddingUrl(const char *value)
{
	const char *fault = "It is not a URL.";
	CURLU *url = curl_url();

	if (url == NULL)
		return "There is not enough memory to look at it.";
	if (curl_url_set(url, CURLUPART_URL, value, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK)
		fault = find_fault(url);
	curl_url_cleanup(url);
	return fault;
}

void
NorikvSplitUrl(const char *value, char **host, char **port, bool *secure)
{
	CURLU *url = curl_url();
	char *scheme;

	if (url == NULL || curl_url_set(url, CURLUPART_URL, value, 0) != CURLUE_OK)
	{
		curl_url_cleanup(url);
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("\"embedding_url\" is not a URL"));
	}
	scheme = get_part(url, CURLUPART_SCHEME, 0);
	*secure = scheme != NULL && strcmp(scheme, "https") == 0;
	*port = get_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
	*host = get_part(url, CURLUPART_HOST, 0);
	curl_url_cleanup(url);

	/* As norikv.allowed_nodes is compared: an IPv6 address without its brackets. */
	if (*host != NULL && **host == '[')
		*host = pnstrdup(*host + 1, strlen(*host) - 2);
	if (*host == NULL)
		*host = pstrdup("");
}

/* An address that begins with "127." is one; a name that does is none. */
bool
NorikvIsLoopback(const char *host)
{
	return pg_strcasecmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
		   (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == strlen(host));
}
