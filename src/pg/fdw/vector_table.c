/*
 * vector_table.c - tables of vectors: their options, their columns, and what a row of
 * one must be.
 */
#include "fdw/vector_table.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "nodes/parsenodes.h"

/* Servers take vectors whose length is below it, and for cosines above its inverse. */
#define LENGTH_LIMIT 1e18

/* In the order of norikv_distance, which begins with 1. */
static const char *const distances[] = {"euclidean", "cosine", "inner_product"};

const char *
NorikvDistanceName(norikv_distance distance)
{
	if (distance < 1 || distance > lengthof(distances))
		return "unknown";
	return distances[distance - 1];
}

double
NorikvVectorDistance(norikv_distance distance, NorikvVector a, NorikvVector b)
{
	switch (distance)
	{
		case NORIKV_EUCLIDEAN:
			return NorikvEuclideanDistance(a, b);
		case NORIKV_COSINE:
			return NorikvCosineDistance(a, b);
		case NORIKV_INNER_PRODUCT:
			break;
	}
	return NorikvNegativeInnerProduct(a, b);
}

/* ---- Options and columns ---- */

NorikvRole
NorikvVectorRoleByName(const char *name)
{
	static const struct
	{
		const char *name;
		NorikvRole role;
	} roles[] = {{"key", NORIKV_KEY},
				 {"vector", NORIKV_VECTOR},
				 {"distance", NORIKV_DISTANCE},
				 {"version", NORIKV_VERSION}};

	for (int i = 0; i < lengthof(roles); i++)
	{
		if (strcmp(name, roles[i].name) == 0)
			return roles[i].role;
	}
	return NORIKV_FIELD;
}

void
NorikvCheckVectorOptions(const NorikvTable *table, List *given)
{
	static const char *const of_keys[] = {"prefix", "keep_prefix", "format"};
	ListCell *cell;

	foreach (cell, given)
	{
		const DefElem *option = lfirst_node(DefElem, cell);

		for (int i = 0; i < lengthof(of_keys); i++)
		{
			if (strcmp(option->defname, of_keys[i]) == 0)
				ereport(ERROR, errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
						errmsg("foreign table \"%s\" cannot have both options "
							   "\"namespace\" and \"%s\"", table->name, of_keys[i]),
						errdetail("With a namespace it shows vectors, and that option "
								  "is about keys."));
		}
	}
}

static void
reject_columns(const NorikvTable *table)
{
	for (int i = 0; i < table->n_columns; i++)
	{
		const NorikvColumn *column = &table->columns[i];

		if (column->role == NORIKV_DROPPED || column->role == NORIKV_KEY ||
			column->role == NORIKV_VECTOR || column->role == NORIKV_DISTANCE ||
			column->role == NORIKV_VERSION)
			continue;
		ereport(ERROR, errcode(ERRCODE_FDW_INVALID_COLUMN_NAME),
				errmsg("column \"%s\" of foreign table \"%s\" shows nothing of a vector",
					   column->name, table->name),
				errhint("A table with a namespace has columns with one of the options "
						"key, vector, distance and version, or of these names where no "
						"column has such an option."));
	}
}

static void
check_type(const NorikvTable *table, AttrNumber attnum, Oid type, const char *role,
		   const char *expected)
{
	if (attnum != 0 && table->columns[attnum - 1].base_type != type)
		NorikvRejectColumnType(table, &table->columns[attnum - 1], role, expected);
}

void
NorikvCheckVectorColumns(NorikvTable *table)
{
	table->vector_attnum = NorikvOnlyColumn(table, NORIKV_VECTOR, "vector");
	table->distance_attnum = NorikvOnlyColumn(table, NORIKV_DISTANCE, "distance");
	reject_columns(table);
	if (table->vector_attnum == 0)
		ereport(ERROR, errcode(ERRCODE_FDW_COLUMN_NAME_NOT_FOUND),
				errmsg("foreign table \"%s\" has no column for the vector", table->name),
				errhint("Give one column OPTIONS (vector 'true'), or the name "
						"\"vector\" where no column has such an option."));
	check_type(table, table->vector_attnum, FLOAT4ARRAYOID, "vector", "real[]");
	check_type(table, table->distance_attnum, FLOAT4OID, "distance", "real");
	if (table->key_kind == NORIKV_KEY_BYTEA)
		NorikvRejectColumnType(table, &table->columns[table->key_attnum - 1],
							   "id of a vector",
							   "text, varchar, uuid, smallint, integer or bigint");
}

void
NorikvCheckNoVectors(const NorikvTable *table)
{
	for (int i = 0; i < table->n_columns; i++)
	{
		NorikvRole role = table->columns[i].role;

		if (role == NORIKV_VECTOR || role == NORIKV_DISTANCE)
			ereport(ERROR, errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
					errmsg("column \"%s\" of foreign table \"%s\" has the option \"%s\", "
						   "but the table has no namespace", table->columns[i].name,
						   table->name, role == NORIKV_VECTOR ? "vector" : "distance"),
					errhint("The table option \"namespace\" names the index that it "
							"shows the vectors of."));
	}
}

/* ---- Values ---- */

NorikvVector
NorikvVectorOfValue(norikv_slice value)
{
	NorikvVector vector = {value.size / sizeof(float), value.data};

	if ((uintptr_t) value.data % sizeof(float) != 0)
		vector.values = memcpy(palloc(Max(value.size, 1)), value.data, value.size);
	return vector;
}

norikv_slice
NorikvValueOfVector(NorikvVector vector)
{
	return (norikv_slice){vector.values, vector.dimensions * sizeof(float)};
}

static double
length_of(NorikvVector vector)
{
	return sqrt(-NorikvNegativeInnerProduct(vector, vector));
}

static bool
has_good_length(const NorikvTableIndex *index, NorikvVector vector)
{
	double length = length_of(vector);

	return length < LENGTH_LIMIT &&
		   (index->distance != NORIKV_COSINE || length > 1 / LENGTH_LIMIT);
}

static bool
fits(const NorikvTableIndex *index, NorikvVector vector)
{
	return index->exists && vector.dimensions == index->dimensions &&
		   has_good_length(index, vector);
}

static void
reject_length(const NorikvTable *table, NorikvVector vector)
{
	double length = length_of(vector);

	if (length == 0)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("vector of a row of foreign table \"%s\" must not be zero",
					   table->name),
				errdetail("Vector index %s measures cosine distances, and a zero vector "
						  "has no direction.", NorikvShowKey(table->space)));
	ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("vector of a row of foreign table \"%s\" is too %s", table->name,
				   length < 1 ? "short" : "long"),
			length < 1 ? errdetail("It has length %g, and vector index %s, which measures "
								   "cosine distances, takes those above %g.", length,
								   NorikvShowKey(table->space), 1 / LENGTH_LIMIT)
					   : errdetail("It has length %g, and vector indexes take those below "
								   "%g.", length, LENGTH_LIMIT));
}

/* What was known of the index may be old: before it is an error, it is asked again. */
void
NorikvCheckVectorFits(NorikvTable *table, NorikvConnection *connection,
					  norikv_slice value)
{
	NorikvVector vector = NorikvVectorOfValue(value);
	const NorikvTableIndex *index = &table->index;

	if (fits(index, vector))
		return;
	(void) NorikvAskForIndex(table, connection, true);
	if (vector.dimensions != index->dimensions)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("vector index %s has %u dimensions, but the vector of a row of "
					   "foreign table \"%s\" has %d", NorikvShowKey(table->space),
					   index->dimensions, table->name, vector.dimensions));
	if (!has_good_length(index, vector))
		reject_length(table, vector);
}
