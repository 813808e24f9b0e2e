/*
 * tenancy.c - ids of tenants, and the keys that are theirs.
 *
 * The keys of a tenant begin with "tenant:<id>:", whatever program writes them. An id
 * has no colon, so no tenant's keys begin with another's.
 */
#include "pg_norikv.h"

#include "mb/pg_wchar.h"

#define MAX_TENANT 64

const char *
NorikvTenantFault(const char *id)
{
	size_t size;

	if (id[0] == '\0')
		return "It must not be empty.";
	if (strchr(id, ':') != NULL)
		return "It must not have a colon in it: that is where the name of a tenant ends "
			   "in a key.";
	for (const unsigned char *c = (const unsigned char *) id; *c != '\0'; c++)
	{
		if (*c < ' ' || *c == 0x7f)
			return "It must not have control characters in it.";
	}
	if (!pg_verifymbstr(id, strlen(id), true))
		return "It is not text in the encoding of the database.";
	size = strlen(NorikvCStringToUtf8(id));
	if (size > MAX_TENANT)
		return psprintf("It has %zu bytes in UTF-8, the limit is %d.", size, MAX_TENANT);
	return NULL;
}

void
NorikvAppendTenantPrefix(StringInfo prefix, const char *id)
{
	appendStringInfo(prefix, "tenant:%s:", NorikvCStringToUtf8(id));
}

/*
 * What the keys of a connection begin with: those of the server's tenant and, among
 * them, those of the session's. So the setting can only narrow what the server leaves.
 * It is checked here and not when it is set, as one that is wrong must stop the session
 * from working, and a setting that is refused while it is being loaded is ignored.
 */
norikv_slice
NorikvConnectionPrefix(const char *server, const char *server_tenant,
					   const char *session_tenant)
{
	StringInfoData prefix;
	const char *fault;

	initStringInfo(&prefix);
	if (server_tenant != NULL)
	{
		fault = NorikvTenantFault(server_tenant);
		if (fault != NULL)
			ereport(ERROR, errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
					errmsg("invalid value for option \"%s\" of server \"%s\"", "tenant",
						   server),
					errdetail("%s", fault));
		NorikvAppendTenantPrefix(&prefix, server_tenant);
	}
	if (session_tenant[0] != '\0')
	{
		fault = NorikvTenantFault(session_tenant);
		if (fault != NULL)
			ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("invalid value for parameter \"%s\": \"%s\"", "norikv.tenant",
						   NorikvTextForMessage(session_tenant)),
					errdetail("%s", fault));
		NorikvAppendTenantPrefix(&prefix, session_tenant);
	}
	return (norikv_slice){prefix.data, prefix.len};
}
