/*
 * address.c - the nodes option: host:port, [v6]:port, unix:/path, with commas.
 */
#include "internal.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>

/* sun_path, less its terminating zero */
#define MAX_SOCKET_PATH 107

static bool
parse_socket(const char *path, size_t size, nk_address *address, norikv_error *error)
{
	char	   *out = address->target;

	if (size == 0)
	{
		nk_error_set(error, NORIKV_INVALID_ARGUMENT, "nodes: \"unix:\" needs a path");
		return false;
	}
	if (size > MAX_SOCKET_PATH)
	{
		nk_error_set(error, NORIKV_INVALID_ARGUMENT,
					 "nodes: socket path of %zu bytes is too long, the limit is %d", size,
					 MAX_SOCKET_PATH);
		return false;
	}
	/* gRPC reads a target as a URI */
	out += sprintf(out, "unix:");
	for (size_t i = 0; i < size; i++)
	{
		unsigned char c = path[i];

		if (isalnum(c) || strchr("/-._~", c) != NULL)
			*out++ = c;
		else
			out += sprintf(out, "%%%02X", c);
	}
	*out = '\0';
	address->local = true;
	return true;
}

static bool
parse_port(const char *text, size_t size, norikv_error *error)
{
	long		port = 0;

	for (size_t i = 0; i < size; i++)
	{
		if (!isdigit((unsigned char) text[i]) || port > 65535)
			port = 65536;
		else
			port = port * 10 + (text[i] - '0');
	}
	if (port >= 1 && port <= 65535)
		return true;
	nk_error_set(error, NORIKV_INVALID_ARGUMENT,
				 "nodes: \"%.*s\" is no port, it must be 1 to 65535", (int) size, text);
	return false;
}

static bool
parse_bracketed(const char *text, size_t size, nk_address *address, norikv_error *error)
{
	const char *close = memchr(text, ']', size);
	char		host[INET6_ADDRSTRLEN];
	struct in6_addr ignored;
	size_t		host_size = close != NULL ? (size_t) (close - text - 1) : 0;
	size_t		rest = close != NULL ? size - host_size - 2 : 0;

	if (host_size > 0 && host_size < sizeof(host))
	{
		memcpy(host, text + 1, host_size);
		host[host_size] = '\0';
	}
	if (host_size == 0 || host_size >= sizeof(host) ||
		inet_pton(AF_INET6, host, &ignored) != 1 || (rest > 0 && close[1] != ':'))
	{
		nk_error_set(error, NORIKV_INVALID_ARGUMENT,
					 "nodes: \"%.*s\" is no IPv6 address like [::1]:7447", (int) size,
					 text);
		return false;
	}
	if (rest == 0)
		snprintf(address->name, sizeof(address->name), "[%s]:%d", host,
				 WIRE_DEFAULT_PORT);
	else if (!parse_port(close + 2, rest - 1, error))
		return false;
	snprintf(address->target, sizeof(address->target), "ipv6:%s", address->name);
	return true;
}

static bool
parse_host(const char *text, size_t size, nk_address *address, norikv_error *error)
{
	const char *colon = memchr(text, ':', size);
	size_t		host_size = colon != NULL ? (size_t) (colon - text) : size;
	char		host[256];
	struct in_addr ignored;

	if (colon != NULL && memchr(colon + 1, ':', size - host_size - 1) != NULL)
	{
		nk_error_set(error, NORIKV_INVALID_ARGUMENT,
					 "nodes: \"%.*s\": an IPv6 address needs brackets, like [::1]:7447",
					 (int) size, text);
		return false;
	}
	for (size_t i = 0; i < host_size; i++)
	{
		if (!isalnum((unsigned char) text[i]) && strchr("-._", text[i]) == NULL)
			host_size = 0;
	}
	if (host_size == 0)
	{
		nk_error_set(error, NORIKV_INVALID_ARGUMENT,
					 "nodes: \"%.*s\" is not of the form host:port or unix:/path",
					 (int) size, text);
		return false;
	}
	if (colon == NULL)
		snprintf(address->name, sizeof(address->name), "%.*s:%d", (int) host_size, text,
				 WIRE_DEFAULT_PORT);
	else if (!parse_port(colon + 1, size - host_size - 1, error))
		return false;
	memcpy(host, text, host_size);
	host[host_size] = '\0';
	snprintf(address->target, sizeof(address->target), "%s:%s",
			 inet_pton(AF_INET, host, &ignored) == 1 ? "ipv4" : "dns", address->name);
	return true;
}

static bool
parse_one(const char *text, size_t size, nk_address *address, norikv_error *error)
{
	memset(address, 0, sizeof(*address));
	if (size > 240)
	{
		nk_error_set(error, NORIKV_INVALID_ARGUMENT,
					 "nodes: an address of %zu bytes is too long, the limit is 240",
					 size);
		return false;
	}
	memcpy(address->name, text, size);
	if (size >= 5 && memcmp(text, "unix:", 5) == 0)
		return parse_socket(text + 5, size - 5, address, error);
	if (size > 0 && text[0] == '[')
		return parse_bracketed(text, size, address, error);
	return parse_host(text, size, address, error);
}

int
nk_addresses_parse(const char *nodes, nk_address *addresses, int max, norikv_error *error)
{
	const char *at = nodes;
	int			count = 0;

	nk_error_clear(error);
	for (;;)
	{
		const char *end = strchrnul(at, ',');
		const char *next = end;

		while (at < end && isspace((unsigned char) *at))
			at++;
		while (end > at && isspace((unsigned char) end[-1]))
			end--;
		if (end == at)
		{
			nk_error_set(error, NORIKV_INVALID_ARGUMENT,
						 "nodes: an address is empty; write \"host:port\" or "
						 "\"unix:/path\", several with commas");
			return -1;
		}
		if (count == max)
		{
			nk_error_set(error, NORIKV_INVALID_ARGUMENT,
						 "nodes: more than %d addresses", max);
			return -1;
		}
		if (!parse_one(at, end - at, &addresses[count], error))
			return -1;
		for (int i = 0; i < count; i++)
		{
			if (strcmp(addresses[i].name, addresses[count].name) == 0)
			{
				nk_error_set(error, NORIKV_INVALID_ARGUMENT,
							 "nodes: \"%s\" is given twice", addresses[i].name);
				return -1;
			}
		}
		count++;
		if (*next == '\0')
			return count;
		at = next + 1;
	}
}
