/*
 * conversion.c - from a field of a document, or from a whole value, to a datum:
 * by the input function of the column's type, or for arrays and composite types
 * in JSON's form by json_populate_record().
 */
#include "fdw/conversion.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

/* The function's own row type has the column's value as its only column. */
#define ROW_COLUMN "v"

struct NorikvConversion
{
	const NorikvColumn *column;
	bool is_text;	 /* text without a limit: no input function needed */
	bool takes_json; /* json or jsonb: the input is the field as it stands there */
	bool is_nested;	 /* an array or composite type: JSON's form differs */
	bool is_plain;
	FmgrInfo input;
	Oid io_param;
	FmgrInfo populate;
	Datum empty_row; /* of the type to populate */
};

/* Whether the input of the type runs no code but PostgreSQL's own. */
static bool
is_plain_type(Oid type)
{
	Oid element = get_element_type(type);
	Oid input;
	Oid io_param;
	char kind = get_typtype(type);

	if (OidIsValid(element))
		return is_plain_type(element);
	if (kind != TYPTYPE_BASE && kind != TYPTYPE_ENUM)
		return false;
	getTypeInputInfo(type, &input, &io_param);
	return input < FirstNormalObjectId;
}

static void
prepare_populate(NorikvConversion *conversion)
{
	const NorikvColumn *column = conversion->column;
	TupleDesc row = CreateTemplateTupleDesc(1);
	Datum value = (Datum) 0;
	bool is_null = true;
	List *arguments;
	Node *call;

	TupleDescInitEntry(row, 1, ROW_COLUMN, column->type, column->typmod, 0);
	BlessTupleDesc(row);
	conversion->empty_row =
		heap_copy_tuple_as_datum(heap_form_tuple(row, &value, &is_null), row);
	fmgr_info(F_JSON_POPULATE_RECORD, &conversion->populate);
	/* The function asks for the types of its arguments. */
	arguments = list_make3(makeNullConst(RECORDOID, -1, InvalidOid),
						   makeNullConst(JSONOID, -1, InvalidOid),
						   makeBoolConst(false, false));
	call = (Node *) makeFuncExpr(F_JSON_POPULATE_RECORD, RECORDOID, arguments, InvalidOid,
								 InvalidOid, COERCE_EXPLICIT_CALL);
	fmgr_info_set_expr(call, &conversion->populate);
}

NorikvConversion *
NorikvMakeConversion(const NorikvColumn *column)
{
	NorikvConversion *conversion = palloc0(sizeof(NorikvConversion));
	Oid input;

	conversion->column = column;
	conversion->is_text =
		column->type == TEXTOID || (column->type == VARCHAROID && column->typmod < 0);
	conversion->takes_json =
		column->base_type == JSONOID || column->base_type == JSONBOID;
	conversion->is_nested = OidIsValid(get_element_type(column->base_type)) ||
							type_is_rowtype(column->base_type);
	conversion->is_plain = is_plain_type(column->type);
	getTypeInputInfo(column->type, &input, &conversion->io_param);
	fmgr_info(input, &conversion->input);
	if (conversion->is_nested)
		prepare_populate(conversion);
	return conversion;
}

const NorikvColumn *
NorikvConversionColumn(const NorikvConversion *conversion)
{
	return conversion->column;
}

bool
NorikvConversionIsPlain(const NorikvConversion *conversion)
{
	return conversion->is_plain;
}

static Datum
populate(NorikvConversion *conversion, norikv_slice json, bool *is_null)
{
	static const char start[] = "{\"" ROW_COLUMN "\":";
	size_t start_size = sizeof(start) - 1;
	text *object = palloc(VARHDRSZ + start_size + json.size + 1);
	Datum row;

	SET_VARSIZE(object, VARHDRSZ + start_size + json.size + 1);
	memcpy(VARDATA(object), start, start_size);
	memcpy(VARDATA(object) + start_size, json.data, json.size);
	VARDATA(object)[start_size + json.size] = '}';
	row = FunctionCall3(&conversion->populate, conversion->empty_row,
						PointerGetDatum(object), BoolGetDatum(false));
	return GetAttributeByNum(DatumGetHeapTupleHeader(row), 1, is_null);
}

static Datum
make_text(const NorikvField *field)
{
	if (field->string != NULL)
		return PointerGetDatum(cstring_to_text(field->string));
	return PointerGetDatum(cstring_to_text_with_len(field->json.data, field->json.size));
}

Datum
NorikvConvert(NorikvConversion *conversion, const NorikvField *field, bool *is_null)
{
	char *string = field->string;

	*is_null = field->kind == NORIKV_FIELD_ABSENT ||
			   (field->kind == NORIKV_FIELD_NULL && !conversion->takes_json);
	if (*is_null)
		return (Datum) 0;
	if (conversion->is_text)
		return make_text(field);
	if (conversion->is_nested && field->kind == NORIKV_FIELD_NESTED)
		return populate(conversion, field->json, is_null);
	if (string == NULL || conversion->takes_json)
		string = pnstrdup(field->json.data, field->json.size);
	return InputFunctionCall(&conversion->input, string, conversion->io_param,
							 conversion->column->typmod);
}
