/*
 * recommendation.c - products like those that a user has looked at.
 *
 * products				the namespace of products, of name, description and category
 * product:meta:<id>	a product: {name, category, description}
 * user_prefs			the namespace of users: where their interactions have led to
 *
 * An interaction moves the user halfway to the product, on the version of the user's
 * vector that was read: of two at once, none is lost.
 */
#include "patterns/semantic.h"

#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(norikv_sql_product_index);
PG_FUNCTION_INFO_V1(norikv_sql_interaction_record);
PG_FUNCTION_INFO_V1(norikv_sql_recommendations);
PG_FUNCTION_INFO_V1(norikv_sql_similar_products);

#define PRODUCTS "products"
#define USERS "user_prefs"
#define PRODUCT_PREFIX "product:meta:"

typedef struct Product
{
	char *name;
	char *category;
	char *description;
} Product;

static const NorikvFieldRule product_fields[] = {
	NORIKV_FIELD("name", NORIKV_TYPE_TEXT, Product, name),
	NORIKV_FIELD("category", NORIKV_TYPE_TEXT, Product, category),
	NORIKV_OPTIONAL("description", NORIKV_TYPE_TEXT, Product, description, 0),
};
static const NorikvDocumentRule product_rule = {
	"product", product_fields, lengthof(product_fields), sizeof(Product)};

/* ---- Products ---- */

/* id, name, description, category */
Datum
norikv_sql_product_index(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.product_index()");
	NorikvIndexing indexing = {.sql_name = "product_index()", .space = PRODUCTS,
							   .prefix = PRODUCT_PREFIX, .rule = &product_rule};
	Product product;

	NorikvRequireArgument(fcinfo, 0, "id");
	NorikvRequireArgument(fcinfo, 1, "name");
	NorikvRequireArgument(fcinfo, 2, "description");
	NorikvRequireArgument(fcinfo, 3, "category");
	product.name = TextDatumGetCString(PG_GETARG_DATUM(1));
	product.description = TextDatumGetCString(PG_GETARG_DATUM(2));
	product.category = TextDatumGetCString(PG_GETARG_DATUM(3));
	indexing.record = &product;
	indexing.text =
		psprintf("%s %s %s", product.name, product.description, product.category);
	NorikvIndexDocument(connection, PG_GETARG_DATUM(0), &indexing);
	PG_RETURN_VOID();
}

/* ---- Interactions ---- */

/*
 * Halfway from the user to the product. Where that is nowhere, as between opposites,
 * it is the product: a zero vector has no direction to search in.
 */
static NorikvVector
move_user(NorikvVector user, NorikvVector product)
{
	float *moved = palloc(sizeof(float) * product.dimensions);
	bool zero = true;

	if (user.dimensions != product.dimensions)
		return product;
	for (int i = 0; i < product.dimensions; i++)
	{
		moved[i] = (user.values[i] + product.values[i]) / 2;
		zero &= moved[i] == 0;
	}
	return zero ? product : (NorikvVector){product.dimensions, moved};
}

/* One step of the loop, which reads what the loop does not know of. */
typedef struct Interaction
{
	norikv_slice user;
	norikv_slice product;
	bool found; /* the product */
} Interaction;

static void
interact_step(NorikvAttempt *attempt, void *arg)
{
	Interaction *interaction = arg;
	NorikvCall *product_call =
		NorikvStartReadVector(attempt->connection, PRODUCTS, interaction->product);
	NorikvCall *user_call =
		NorikvStartReadVector(attempt->connection, USERS, interaction->user);
	NorikvStoredVector product = NorikvFinishReadVector(product_call, PRODUCTS);
	NorikvStoredVector user = NorikvFinishReadVector(user_call, USERS);
	NorikvVector moved;

	interaction->found = product.vector.dimensions != 0;
	if (!interaction->found)
		return;
	NorikvMakeIndex(attempt->connection, USERS, product.vector.dimensions);
	moved = move_user(user.vector, product.vector);
	NorikvPutVector(attempt, NORIKV_SLICE(USERS), interaction->user, moved.values,
					moved.dimensions,
					user.vector.dimensions != 0 ? NORIKV_IF_VERSION : NORIKV_IF_ABSENT,
					user.version);
}

/* user_id, product_id */
Datum
norikv_sql_interaction_record(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection =
		NorikvGetWriteConnection("norikv.interaction_record()");
	const NorikvStepOptions options = {.sql_name = "interaction_record()",
									   .max_retries = -1};
	Interaction interaction;
	NorikvIndexUse use;

	NorikvRequireArgument(fcinfo, 0, "user_id");
	NorikvRequireArgument(fcinfo, 1, "product_id");
	interaction.user = NorikvVectorIdFromDatum(PG_GETARG_DATUM(0), "user_id");
	interaction.product = NorikvVectorIdFromDatum(PG_GETARG_DATUM(1), "product_id");
	NorikvBeginIndexUse(&use, connection, USERS);
	NorikvRunStep(connection, NULL, 0, interact_step, &interaction, &options);
	NorikvEndIndexUse(&use);
	PG_RETURN_BOOL(interaction.found);
}

/* ---- Recommendations ---- */

/* product_id, name, category, score; another program may have stored no name. */
static void
put_row(ReturnSetInfo *result, const NorikvHit *hit, const NorikvConnection *connection)
{
	bool nulls[4] = {false};
	Datum values[4];
	Product product;

	values[0] = NorikvTextFromId(hit->id, connection);
	nulls[1] = nulls[2] = !hit->document.present;
	if (hit->document.present)
	{
		NorikvReadRecord(&product_rule, &hit->document, connection, &product);
		values[1] = CStringGetTextDatum(product.name);
		values[2] = CStringGetTextDatum(product.category);
	}
	values[3] = Float8GetDatum(hit->similarity);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* The k products nearest to a vector; without the one it is of, if it is a product. */
static void
put_nearest(FunctionCallInfo fcinfo, NorikvConnection *connection, NorikvVector vector,
			int k, const norikv_slice *but)
{
	NorikvHitRequest request = {
		.space = PRODUCTS, .query = vector, .k = k, .prefix = PRODUCT_PREFIX};
	NorikvHits hits;
	int n_rows = 0;

	if (but != NULL && k < PG_INT32_MAX)
		request.k++;
	hits = NorikvSearchHits(connection, &request);
	for (int i = 0; i < hits.count && n_rows < k; i++)
	{
		if (but != NULL && NorikvSameBytes(hits.hits[i].id, *but))
			continue;
		put_row((ReturnSetInfo *) fcinfo->resultinfo, &hits.hits[i], connection);
		n_rows++;
	}
}

/* The vector of the first argument, and the products nearest to it. */
static Datum
recommend(FunctionCallInfo fcinfo, const char *space, const char *argument,
		  bool but_itself)
{
	NorikvConnection *connection;
	NorikvStoredVector stored;
	norikv_slice id;
	int k;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	connection = NorikvGetConnection();
	id = NorikvVectorIdFromDatum(PG_GETARG_DATUM(0), argument);
	k = NorikvNeighboursArgument(fcinfo, 1);
	stored = NorikvFinishReadVector(NorikvStartReadVector(connection, space, id), space);
	if (stored.vector.dimensions != 0)
		put_nearest(fcinfo, connection, stored.vector, k, but_itself ? &id : NULL);
	return (Datum) 0;
}

/* user_id, k */
Datum
norikv_sql_recommendations(PG_FUNCTION_ARGS)
{
	return recommend(fcinfo, USERS, "user_id", false);
}

/* product_id, k */
Datum
norikv_sql_similar_products(PG_FUNCTION_ARGS)
{
	return recommend(fcinfo, PRODUCTS, "product_id", true);
}
