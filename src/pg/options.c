/*
 * options.c - the options of servers, user mappings, foreign tables and their
 * columns, in one table: the validator, its hints and what connections and tables
 * read all come from there.
 */
#include "pg_norikv.h"

#include <limits.h>

#include "access/reloptions.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "parser/scansup.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/regproc.h"
#include "utils/varlena.h"

#include "vector/embedder.h"

typedef enum OptionType
{
	OPTION_NODES,
	OPTION_STRING,
	OPTION_PREFIX,
	OPTION_NAMESPACE,
	OPTION_TENANT,
	OPTION_NAME,
	OPTION_URL,
	OPTION_FUNCTION,
	OPTION_CHOICE,
	OPTION_CONSISTENCY,
	OPTION_DURATION, /* milliseconds, or a number with a unit as settings take it */
	OPTION_INTEGER,
	OPTION_BOOLEAN
} OptionType;

typedef struct Option
{
	const char *name;
	Oid catalog; /* of the object it belongs to */
	OptionType type;
	int min; /* of durations and integers */
	int max;
	size_t offset; /* of its member in the struct of its catalog */
	const char *const *choices; /* what a choice may be, in the order of its enum */
} Option;

#define SERVER ForeignServerRelationId
#define USER_MAPPING UserMappingRelationId
#define TABLE ForeignTableRelationId
#define COLUMN AttributeRelationId
#define MEMBER(member) offsetof(NorikvSettings, member)
#define TABLE_MEMBER(member) offsetof(NorikvTableOptions, member)
#define COLUMN_MEMBER(member) offsetof(NorikvColumnOptions, member)
#define DAY (24 * 60 * 60 * 1000)

static const char *const embedders[] = {"lexical", "http", "function", NULL};
static const char *const formats[] = {"json", "jsonb", "text", "bytea", NULL};
static const char *const reactions[] = {"error", "null", "skip", NULL};
static const char *const write_modes[] = {"transaction", "immediate", NULL};
static const char *const insert_modes[] = {"error", "replace", NULL};

static const Option options[] = {
	{"nodes", SERVER, OPTION_NODES, 0, 0, MEMBER(nodes)},
	{"timeout", SERVER, OPTION_DURATION, 1, DAY, MEMBER(timeout)},
	{"attempt_timeout", SERVER, OPTION_DURATION, 1, DAY, MEMBER(attempt_timeout)},
	{"connect_timeout", SERVER, OPTION_DURATION, 1, DAY, MEMBER(connect_timeout)},
	{"max_retries", SERVER, OPTION_INTEGER, 0, 1000000, MEMBER(max_retries)},
	{"consistency", SERVER, OPTION_CONSISTENCY, 0, 0, MEMBER(consistency)},
	{"trust_cas", SERVER, OPTION_BOOLEAN, 0, 0, MEMBER(trust_cas)},
	{"batch_size", SERVER, OPTION_INTEGER, 1, 100000, MEMBER(batch_size)},
	{"fetch_size", SERVER, OPTION_INTEGER, 1, 100000, MEMBER(fetch_size)},
	{"keep_connections", SERVER, OPTION_BOOLEAN, 0, 0, MEMBER(keep_connections)},
	{"read_only", SERVER, OPTION_BOOLEAN, 0, 0, MEMBER(read_only)},
	/* Of servers only: what confines somebody is not theirs to change. */
	{"tenant", SERVER, OPTION_TENANT, 0, 0, MEMBER(tenant)},
	{"embedder", SERVER, OPTION_CHOICE, 0, 0, MEMBER(embedder), embedders},
	{"embedding_url", SERVER, OPTION_URL, 0, 0, MEMBER(embedding_url)},
	{"embedding_model", SERVER, OPTION_NAME, 0, 0, MEMBER(embedding_model)},
	{"embedding_dimensions", SERVER, OPTION_INTEGER, 1, NORIKV_MAX_DIMENSIONS,
	 MEMBER(embedding_dimensions)},
	{"embedding_function", SERVER, OPTION_FUNCTION, 0, 0, MEMBER(embedding_function)},
	{"embedding_timeout", SERVER, OPTION_DURATION, 1, DAY, MEMBER(embedding_timeout)},
	/* Credentials only: users may change their own mapping. */
	{"token", USER_MAPPING, OPTION_STRING, 0, 0, MEMBER(token)},
	{"embedding_api_key", USER_MAPPING, OPTION_STRING, 0, 0, MEMBER(embedding_api_key)},
	{"prefix", TABLE, OPTION_PREFIX, 0, 0, TABLE_MEMBER(prefix)},
	{"namespace", TABLE, OPTION_NAMESPACE, 0, 0, TABLE_MEMBER(space)},
	{"keep_prefix", TABLE, OPTION_BOOLEAN, 0, 0, TABLE_MEMBER(keep_prefix)},
	{"format", TABLE, OPTION_CHOICE, 0, 0, TABLE_MEMBER(format), formats},
	{"on_error", TABLE, OPTION_CHOICE, 0, 0, TABLE_MEMBER(on_error), reactions},
	{"write_mode", TABLE, OPTION_CHOICE, 0, 0, TABLE_MEMBER(write_mode), write_modes},
	{"on_insert", TABLE, OPTION_CHOICE, 0, 0, TABLE_MEMBER(on_insert), insert_modes},
	{"updatable", TABLE, OPTION_BOOLEAN, 0, 0, TABLE_MEMBER(updatable)},
	{"truncatable", TABLE, OPTION_BOOLEAN, 0, 0, TABLE_MEMBER(truncatable)},
	{"batch_size", TABLE, OPTION_INTEGER, 1, 100000, TABLE_MEMBER(batch_size)},
	{"fetch_size", TABLE, OPTION_INTEGER, 1, 100000, TABLE_MEMBER(fetch_size)},
	{"key", COLUMN, OPTION_BOOLEAN, 0, 0, COLUMN_MEMBER(key)},
	{"value", COLUMN, OPTION_BOOLEAN, 0, 0, COLUMN_MEMBER(value)},
	{"version", COLUMN, OPTION_BOOLEAN, 0, 0, COLUMN_MEMBER(version)},
	{"ttl", COLUMN, OPTION_BOOLEAN, 0, 0, COLUMN_MEMBER(ttl)},
	{"expires_at", COLUMN, OPTION_BOOLEAN, 0, 0, COLUMN_MEMBER(expires_at)},
	{"vector", COLUMN, OPTION_BOOLEAN, 0, 0, COLUMN_MEMBER(vector)},
	{"distance", COLUMN, OPTION_BOOLEAN, 0, 0, COLUMN_MEMBER(distance)},
	{"field", COLUMN, OPTION_NAME, 0, 0, COLUMN_MEMBER(field)},
};

static const NorikvSettings defaults = {
	.timeout = 5000,
	.attempt_timeout = 1000,
	.connect_timeout = 1000,
	.max_retries = 100,
	.consistency = "strong",
	.batch_size = 10000,
	.fetch_size = 10000,
	.keep_connections = true,
	.embedding_timeout = 30000,
};

static const char *const consistencies[] = {"strong", "eventual", "bounded_staleness"};

PG_FUNCTION_INFO_V1(norikv_sql_validator);

/* The name as libnorikv takes it; NULL where it is none of the three. */
const char *
NorikvCheckConsistency(const char *consistency)
{
	for (int i = 0; i < lengthof(consistencies); i++)
	{
		if (strcmp(consistency, consistencies[i]) == 0)
			return consistencies[i];
	}
	return NULL;
}

/* One entry of a list of nodes: the host, and the port or NULL. */
static void
split_host(char *node, char **host, char **port)
{
	char *end;

	*host = node;
	*port = NULL;
	if (node[0] == '[' && (end = strchr(node, ']')) != NULL)
	{
		*host = node + 1;
		*end = '\0';
		if (end[1] == ':')
			*port = end + 2;
	}
	else if ((end = strchr(node, ':')) != NULL && strchr(end + 1, ':') == NULL)
	{
		*end = '\0';
		*port = end + 1;
	}
}

static bool
matches(const char *pattern, const char *host)
{
	for (; *pattern != '\0'; pattern++, host++)
	{
		if (*pattern == '*')
		{
			while (pattern[1] == '*')
				pattern++;
			for (; *host != '\0'; host++)
			{
				if (matches(pattern + 1, host))
					return true;
			}
			return pattern[1] == '\0';
		}
		if (pg_tolower((unsigned char) *pattern) != pg_tolower((unsigned char) *host))
			return false;
	}
	return *host == '\0';
}

static char *
next_in_list(char **list)
{
	char *item;
	char *end;

	if ((item = strsep(list, ",")) == NULL)
		return NULL;
	while (scanner_isspace(*item))
		item++;
	end = item + strlen(item);
	while (end > item && scanner_isspace(end[-1]))
		end--;
	*end = '\0';
	return item;
}

static bool
host_allowed(const char *host, const char *port)
{
	char *list = pstrdup(norikv_allowed_nodes ? norikv_allowed_nodes : "");
	char *pattern;

	while ((pattern = next_in_list(&list)) != NULL)
	{
		char *allowed_host;
		char *allowed_port;

		split_host(pattern, &allowed_host, &allowed_port);
		if (matches(allowed_host, host) &&
			(allowed_port == NULL || (port != NULL && strcmp(allowed_port, port) == 0)))
			return true;
	}
	return false;
}

/*
 * A server makes this PostgreSQL connect with its own network identity, and a
 * unix socket is reached with the rights of its operating system user: only
 * superusers decide that without limits.
 */
static void
check_nodes(const char *value)
{
	norikv_error error;
	sigset_t saved;
	bool valid;
	char *list = pstrdup(value);
	char *node;
	char *host;
	char *port;

	NorikvBlockSignals(&saved);
	valid = norikv_nodes_valid(value, &error);
	NorikvRestoreSignals(&saved);
	if (!valid)
		ereport(ERROR, errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				errmsg("invalid value for option \"nodes\": \"%s\"", value),
				errdetail("%s", NorikvTextForMessage(error.text)),
				errhint("It is a comma-separated list of host:port, [ipv6]:port and "
						"unix:/path."));

	if (superuser())
		return;
	while ((node = next_in_list(&list)) != NULL)
	{
		if (strncmp(node, "unix:", 5) == 0)
			ereport(ERROR, errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					errmsg("only a superuser may name a unix socket in option \"nodes\""),
					errhint("Leave the option out to use the embedded server."));
		split_host(pstrdup(node), &host, &port);
		if (!host_allowed(host, port))
			ereport(ERROR, errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					errmsg("node \"%s\" is not among norikv.allowed_nodes", node),
					errhint("A superuser can add it to the setting "
							"\"norikv.allowed_nodes\", or create the server."));
	}
}

/* Of a header's value: visible ASCII, or what follows it could be another header. */
static void
check_token(const Option *option, const char *value)
{
	const char *c = value;

	while (*c > ' ' && *c <= '~')
		c++;
	if (*c != '\0' || c == value)
		ereport(ERROR, errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				errmsg("invalid value for option \"%s\"", option->name),
				errdetail("It must consist of one or more visible ASCII characters."));
}

/* A key must be longer than the prefix of its table, or may be as long. */
static void
check_prefix(const Option *option, const char *value)
{
	size_t size = strlen(NorikvCStringToUtf8(value));

	if (size > NORIKV_MAX_KEY)
		ereport(ERROR, errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				errmsg("value of option \"%s\" is too long", option->name),
				errdetail("It has %zu bytes in UTF-8, the limit is %d.", size,
						  NORIKV_MAX_KEY));
}

static void
check_namespace(const Option *option, const char *value)
{
	size_t size = strlen(NorikvCStringToUtf8(value));

	if (size < 1 || size > NORIKV_MAX_NAMESPACE)
		ereport(ERROR, errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				errmsg("value of option \"%s\" must be 1 to %d bytes", option->name,
					   NORIKV_MAX_NAMESPACE),
				errdetail("It has %zu bytes in UTF-8.", size));
}

static void
check_tenant(const Option *option, const char *value)
{
	const char *fault = NorikvTenantFault(value);

	if (fault != NULL)
		ereport(ERROR, errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				errmsg("invalid value for option \"%s\": \"%s\"", option->name,
					   NorikvTextForMessage(value)),
				errdetail("%s", fault));
}

/* Texts are sent there, with this PostgreSQL's network identity: see check_nodes(). */
static void
check_url(const Option *option, const char *value)
{
	const char *fault = NorikvCheckEmbeddingUrl(value);
	char *host;
	char *port;
	bool secure;

	if (fault != NULL)
		ereport(ERROR, errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				errmsg("invalid value for option \"%s\"", option->name),
				errdetail("%s", fault));
	if (superuser())
		return;
	NorikvSplitUrl(value, &host, &port, &secure);
	if (!host_allowed(host, port))
		ereport(ERROR, errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("host \"%s\" of option \"%s\" is not among "
					   "norikv.allowed_nodes", host, option->name),
				errhint("A superuser can add it to the setting "
						"\"norikv.allowed_nodes\", or set the option."));
}

/* Its existence is not checked: a dump is restored in any order. */
static void
check_function(const Option *option, const char *value)
{
	if (list_length(stringToQualifiedNameList(value)) != 2)
		ereport(ERROR, errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				errmsg("invalid value for option \"%s\": \"%s\"", option->name, value),
				errdetail("It must be the name of a function with its schema."));
}

static int
choice_value(const Option *option, const char *value)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; option->choices[i] != NULL; i++)
	{
		if (strcmp(option->choices[i], value) == 0)
			return i;
		appendStringInfo(&names, "%s\"%s\"", i > 0 ? ", " : "", option->choices[i]);
	}
	ereport(ERROR, errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
			errmsg("invalid value for option \"%s\": \"%s\"", option->name, value),
			errhint("Valid values are %s.", names.data));
	return 0;
}

static int
number_value(const Option *option, const char *value)
{
	int flags = option->type == OPTION_DURATION ? GUC_UNIT_MS : 0;
	const char *hint = NULL;
	int number;

	if (!parse_int(value, &number, flags, &hint))
		ereport(ERROR, errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				errmsg("invalid value for option \"%s\": \"%s\"", option->name, value),
				hint ? errhint("%s", _(hint)) : 0);
	if (number < option->min || number > option->max)
		ereport(ERROR, errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				errmsg("value \"%s\" of option \"%s\" is out of range", value,
					   option->name),
				errdetail("It must be between %d and %d%s.", option->min, option->max,
						  option->type == OPTION_DURATION ? " ms" : ""));
	return number;
}

static const char *
consistency_value(const char *value)
{
	const char *known = NorikvCheckConsistency(value);

	if (known == NULL)
		ereport(ERROR, errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				errmsg("invalid value for option \"consistency\": \"%s\"", value),
				errhint("Valid values are \"strong\", \"eventual\" and "
						"\"bounded_staleness\"."));
	return known;
}

static void
check_value(const Option *option, DefElem *def)
{
	switch (option->type)
	{
		case OPTION_NODES:
			check_nodes(defGetString(def));
			break;
		case OPTION_STRING:
			check_token(option, defGetString(def));
			break;
		case OPTION_PREFIX:
			check_prefix(option, defGetString(def));
			break;
		case OPTION_NAMESPACE:
			check_namespace(option, defGetString(def));
			break;
		case OPTION_TENANT:
			check_tenant(option, defGetString(def));
			break;
		case OPTION_NAME:
			break;
		case OPTION_URL:
			check_url(option, defGetString(def));
			break;
		case OPTION_FUNCTION:
			check_function(option, defGetString(def));
			break;
		case OPTION_CHOICE:
			(void) choice_value(option, defGetString(def));
			break;
		case OPTION_CONSISTENCY:
			(void) consistency_value(defGetString(def));
			break;
		case OPTION_DURATION:
		case OPTION_INTEGER:
			(void) number_value(option, defGetString(def));
			break;
		case OPTION_BOOLEAN:
			(void) defGetBoolean(def);
			break;
	}
}

static const Option *
find_option(const char *name, Oid catalog)
{
	for (int i = 0; i < lengthof(options); i++)
	{
		if (options[i].catalog == catalog && strcmp(options[i].name, name) == 0)
			return &options[i];
	}
	return NULL;
}

/* The option of this catalog that looks most like the name; NULL: none does. */
static const char *
closest_option(const char *name, Oid catalog)
{
	const char *closest = NULL;
	int distance = 4; /* more changes than that make another word of it */

	if (strlen(name) > NAMEDATALEN)
		return NULL;
	for (int i = 0; i < lengthof(options); i++)
	{
		const char *candidate = options[i].name;
		int d;

		if (options[i].catalog != catalog)
			continue;
		d = varstr_levenshtein(name, strlen(name), candidate, strlen(candidate), 1, 1, 1,
							   true);
		if (d < distance && d <= (int) strlen(candidate) / 2)
		{
			closest = candidate;
			distance = d;
		}
	}
	return closest;
}

static void
reject_option(const char *name, Oid catalog)
{
	const char *closest = closest_option(name, catalog);
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < lengthof(options); i++)
	{
		if (options[i].catalog == catalog)
			appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", options[i].name);
	}
	ereport(ERROR, errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			errmsg("invalid option \"%s\"", name),
			closest ? errhint("Perhaps you meant the option \"%s\".", closest)
			: names.len > 0
				? errhint("Valid options in this context are: %s", names.data)
				: errhint("There are no valid options in this context."));
}

Datum
norikv_sql_validator(PG_FUNCTION_ARGS)
{
	List *given = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid catalog = PG_GETARG_OID(1);
	ListCell *cell;

	foreach (cell, given)
	{
		DefElem *def = lfirst_node(DefElem, cell);
		const Option *option = find_option(def->defname, catalog);

		if (option == NULL)
			reject_option(def->defname, catalog);
		check_value(option, def);
	}
	PG_RETURN_VOID();
}

static void
load(void *settings, List *given, Oid catalog)
{
	ListCell *cell;

	foreach (cell, given)
	{
		DefElem *def = lfirst_node(DefElem, cell);
		const Option *option = find_option(def->defname, catalog);
		void *member;

		/* Left over from another version of the extension. */
		if (option == NULL)
			continue;
		member = (char *) settings + option->offset;
		switch (option->type)
		{
			case OPTION_NODES:
			case OPTION_STRING:
			case OPTION_PREFIX:
			case OPTION_NAMESPACE:
			case OPTION_TENANT:
			case OPTION_NAME:
			case OPTION_URL:
			case OPTION_FUNCTION:
			case OPTION_CONSISTENCY:
				*(char **) member = pstrdup(defGetString(def));
				break;
			case OPTION_CHOICE:
				*(int *) member = choice_value(option, defGetString(def));
				break;
			case OPTION_DURATION:
			case OPTION_INTEGER:
				*(int *) member = number_value(option, defGetString(def));
				break;
			case OPTION_BOOLEAN:
				*(bool *) member = defGetBoolean(def);
				break;
		}
	}
}

/* Strings are allocated in the current memory context. */
void
NorikvLoadSettings(NorikvSettings *settings, List *server_options, List *user_options)
{
	*settings = defaults;
	load(settings, server_options, SERVER);
	load(settings, user_options, USER_MAPPING);
}

void
NorikvLoadTableOptions(NorikvTableOptions *table, List *given)
{
	*table = (NorikvTableOptions){.prefix = "", .format = -1, .updatable = true};
	load(table, given, TABLE);
}

void
NorikvLoadColumnOptions(NorikvColumnOptions *column, List *given)
{
	*column = (NorikvColumnOptions){.field = NULL};
	load(column, given, COLUMN);
}
