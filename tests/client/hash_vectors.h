/*
 * hash_vectors.h - keys and their shards, as every client of NoriKV must compute
 * them.
 */
#ifndef HASH_VECTORS_H
#define HASH_VECTORS_H

#include <stddef.h>
#include <stdint.h>

static const struct
{
	const char *key;
	size_t		size;
	uint64_t	hash;			/* XXH64, seed 0 */
	uint32_t	shard_1024;
	uint32_t	shard_256;
}			key_vectors[] = {
	{"hello", 5, UINT64_C(2794345569481354659), 309, 118},
	{"world", 5, UINT64_C(16679358290033791471), 752, 4},
	{"user:123", 8, UINT64_C(12838382303697200627), 928, 59},
	{"user:456", 8, UINT64_C(15127664767043746295), 768, 91},
	{"order:789", 9, UINT64_C(16039549273304380186), 564, 7},
	{"session:abc", 11, UINT64_C(6709427766188742023), 48, 48},
	{"config:feature-flag", 19, UINT64_C(11761742651260739985), 987, 116},
	{"metrics:cpu", 11, UINT64_C(11466248021713662033), 336, 82},
	{"cache:user:profile:12345", 24, UINT64_C(18158512077392140069), 896, 72},
	{"db:table:users:index:email", 26, UINT64_C(10081725681525424201), 564, 160},
	{
		"\x48\x65\x6c\x6c\x6f\x20\xe4\xb8\x96\xe7\x95\x8c",
		12, UINT64_C(15196255900769524241), 228, 228
	},
	{
		"\xf0\x9f\x8c\x8d\xf0\x9f\x9a\x80",
		8, UINT64_C(10542605020825931344), 523, 183
	},
	{"", 0, UINT64_C(17241709254077376921), 332, 40},
	{"a", 1, UINT64_C(15154266338359012955), 894, 17},
	{
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxx",
		1000, UINT64_C(5528630022282608865), 178, 178
	},
};

static const struct
{
	uint64_t	hash;
	uint32_t	bucket_100;
	uint32_t	bucket_1024;
}			jump_vectors[] = {
	{UINT64_C(0), 0, 0},
	{UINT64_C(1), 55, 549},
	{UINT64_C(12345678901234567890), 49, 294},
	{UINT64_C(18446744073709551615), 92, 313},
	{UINT64_C(9223372036854775808), 84, 453},
	{UINT64_C(1234567890), 84, 499},
	{UINT64_C(9876543210), 39, 171},
};

#endif
