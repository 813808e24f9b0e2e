/*
 * conversion.h - from a field of a document, or from a whole value, to a datum.
 */
#ifndef NORIKV_FDW_CONVERSION_H
#define NORIKV_FDW_CONVERSION_H

#include "fdw/document.h"
#include "fdw/fdw.h"

typedef struct NorikvConversion NorikvConversion;

extern NorikvConversion *NorikvMakeConversion(const NorikvColumn *column);
extern const NorikvColumn *NorikvConversionColumn(const NorikvConversion *conversion);
/*
 * Whether an error of the conversion leaves nothing behind but memory: it runs
 * input functions of PostgreSQL's own and nothing else.
 */
extern bool NorikvConversionIsPlain(const NorikvConversion *conversion);
/* A whole value is a string field with its text in json, and string NULL. */
extern Datum NorikvConvert(NorikvConversion *conversion, const NorikvField *field,
						   bool *is_null);

#endif
