/*
 * version.c - the type norikv.version: the version of a key, shown as
 * term/index. 'any' is no version of a key, but a condition that always holds;
 * it sorts last.
 */
#include "pg_norikv.h"

#include "common/hashfn.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"

/* index has 48 bits of a token, term the rest but the sign. */
#define TOKEN_INDEX_BITS 48
#define TOKEN_MAX_INDEX ((UINT64CONST(1) << TOKEN_INDEX_BITS) - 1)
#define TOKEN_MAX_TERM 32767

static const NorikvVersion any_version = {PG_UINT64_MAX, PG_UINT64_MAX};

PG_FUNCTION_INFO_V1(norikv_sql_version_in);
PG_FUNCTION_INFO_V1(norikv_sql_version_out);
PG_FUNCTION_INFO_V1(norikv_sql_version_recv);
PG_FUNCTION_INFO_V1(norikv_sql_version_send);
PG_FUNCTION_INFO_V1(norikv_sql_version_lt);
PG_FUNCTION_INFO_V1(norikv_sql_version_le);
PG_FUNCTION_INFO_V1(norikv_sql_version_eq);
PG_FUNCTION_INFO_V1(norikv_sql_version_ne);
PG_FUNCTION_INFO_V1(norikv_sql_version_ge);
PG_FUNCTION_INFO_V1(norikv_sql_version_gt);
PG_FUNCTION_INFO_V1(norikv_sql_version_cmp);
PG_FUNCTION_INFO_V1(norikv_sql_version_larger);
PG_FUNCTION_INFO_V1(norikv_sql_version_smaller);
PG_FUNCTION_INFO_V1(norikv_sql_version_hash);
PG_FUNCTION_INFO_V1(norikv_sql_version_hash_extended);
PG_FUNCTION_INFO_V1(norikv_sql_version_token);

Datum
NorikvVersionGetDatum(norikv_version version)
{
	NorikvVersion *result = palloc(sizeof(NorikvVersion));

	*result = version;
	return VersionPGetDatum(result);
}

bool
NorikvVersionIsAny(const NorikvVersion *version)
{
	return NorikvSameVersion(*version, any_version);
}

int64
NorikvVersionToken(const NorikvVersion *version)
{
	if (version->term > TOKEN_MAX_TERM || version->index > TOKEN_MAX_INDEX)
		return -1;
	return ((int64) version->term << TOKEN_INDEX_BITS) + version->index;
}

/* Digits only, for strtoull takes signs and blanks; NULL: no such number. */
static const char *
parse_number(const char *string, uint64 *number)
{
	char *end;

	if (*string < '0' || *string > '9')
		return NULL;
	errno = 0;
	*number = strtou64(string, &end, 10);
	return errno == 0 ? end : NULL;
}

Datum
norikv_sql_version_in(PG_FUNCTION_ARGS)
{
	const char *string = PG_GETARG_CSTRING(0);
	NorikvVersion version = any_version;

	if (pg_strcasecmp(string, "any") != 0)
	{
		const char *rest = parse_number(string, &version.term);

		if (rest != NULL && *rest == '/')
			rest = parse_number(rest + 1, &version.index);
		else
			rest = NULL;
		if (rest == NULL || *rest != '\0' || NorikvVersionIsAny(&version))
			ereport(ERROR, errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					errmsg("invalid input syntax for type %s: \"%s\"", "norikv.version",
						   string));
	}
	return NorikvVersionGetDatum(version);
}

Datum
norikv_sql_version_out(PG_FUNCTION_ARGS)
{
	const NorikvVersion *version = PG_GETARG_VERSION_P(0);

	if (NorikvVersionIsAny(version))
		PG_RETURN_CSTRING(pstrdup("any"));
	PG_RETURN_CSTRING(
		psprintf(UINT64_FORMAT "/" UINT64_FORMAT, version->term, version->index));
}

Datum
norikv_sql_version_recv(PG_FUNCTION_ARGS)
{
	StringInfo message = (StringInfo) PG_GETARG_POINTER(0);
	NorikvVersion version;

	version.term = pq_getmsgint64(message);
	version.index = pq_getmsgint64(message);
	return NorikvVersionGetDatum(version);
}

Datum
norikv_sql_version_send(PG_FUNCTION_ARGS)
{
	const NorikvVersion *version = PG_GETARG_VERSION_P(0);
	StringInfoData message;

	pq_begintypsend(&message);
	pq_sendint64(&message, version->term);
	pq_sendint64(&message, version->index);
	PG_RETURN_BYTEA_P(pq_endtypsend(&message));
}

static int
compare(const NorikvVersion *a, const NorikvVersion *b)
{
	if (a->term != b->term)
		return a->term < b->term ? -1 : 1;
	if (a->index != b->index)
		return a->index < b->index ? -1 : 1;
	return 0;
}

#define COMPARE_ARGUMENTS() compare(PG_GETARG_VERSION_P(0), PG_GETARG_VERSION_P(1))

Datum
norikv_sql_version_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(COMPARE_ARGUMENTS() < 0);
}

Datum
norikv_sql_version_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(COMPARE_ARGUMENTS() <= 0);
}

Datum
norikv_sql_version_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(COMPARE_ARGUMENTS() == 0);
}

Datum
norikv_sql_version_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(COMPARE_ARGUMENTS() != 0);
}

Datum
norikv_sql_version_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(COMPARE_ARGUMENTS() >= 0);
}

Datum
norikv_sql_version_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(COMPARE_ARGUMENTS() > 0);
}

Datum
norikv_sql_version_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(COMPARE_ARGUMENTS());
}

Datum
norikv_sql_version_larger(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(PG_GETARG_DATUM(COMPARE_ARGUMENTS() >= 0 ? 0 : 1));
}

Datum
norikv_sql_version_smaller(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(PG_GETARG_DATUM(COMPARE_ARGUMENTS() <= 0 ? 0 : 1));
}

Datum
norikv_sql_version_hash(PG_FUNCTION_ARGS)
{
	const NorikvVersion *version = PG_GETARG_VERSION_P(0);

	return hash_any((const unsigned char *) version, sizeof(NorikvVersion));
}

Datum
norikv_sql_version_hash_extended(PG_FUNCTION_ARGS)
{
	return hash_any_extended((const unsigned char *) PG_GETARG_VERSION_P(0),
							 sizeof(NorikvVersion), PG_GETARG_INT64(1));
}

/* A later write has a greater token, so a token can fence off an earlier one. */
Datum
norikv_sql_version_token(PG_FUNCTION_ARGS)
{
	int64 token = NorikvVersionToken(PG_GETARG_VERSION_P(0));

	if (token < 0)
		ereport(ERROR, errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				errmsg("norikv.version out of range for bigint"),
				errdetail("A token has room for terms up to %d and indexes up to "
						  UINT64_FORMAT ".", TOKEN_MAX_TERM, TOKEN_MAX_INDEX));
	PG_RETURN_INT64(token);
}
