/*
 * lexical.c - the embedder that is built in: hashed character n-grams.
 *
 * A text is the sum of its words, a word the sum of its n-grams, and an n-gram is a
 * component, and a sign, that its hash tells: the "hashing trick" with signs of
 * Weinberger, Dasgupta, Langford, Smola and Attenberg, "Feature Hashing for Large Scale
 * Multitask Learning" (ICML 2009), which keeps inner products right on average. So texts
 * are close that share words, or beginnings of words; it knows nothing of meaning.
 *
 * - A word is a run of letters, digits and marks, with the + and # that it ends in; an
 *   apostrophe in it is left out. Case is folded (Unicode's simple folding). Nothing is
 *   normalized: "é" as one code point and as two are different letters.
 * - The n-grams are those of 3 and 4 characters of the word with a space at either end.
 *   The i-th weighs 1/i, but not less than 1/4, for endings bend and beginnings mean;
 *   in scripts without spaces all weigh alike. A word with a digit in it is one
 *   feature: numbers that begin alike have nothing in common.
 * - A word's n-grams have length 1 together, whatever their number. A word that is there
 *   t times weighs sqrt(t), and the function words of English a tenth of that.
 * - The sum is scaled to length 1.
 *
 * One text has one vector, on every machine: hashes are XXH64 of UTF-8, all sums are of
 * integers, and what is left is a division and a square root, which IEEE 754 defines to
 * the last bit.
 */
#include "vector/embedder.h"

#include <math.h>

#include <xxhash.h>

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#define DEFAULT_DIMENSIONS 256
#define MIN_GRAM 3
#define MAX_GRAM 4
/* 1 in the units of weights of n-grams in a word: 1/1 to 1/4 are whole numbers. */
#define GRAM_UNIT 12
#define MIN_GRAM_WEIGHT (GRAM_UNIT / 4)
/* The weight of a word that is there once. */
#define WORD_UNIT 65536.0
#define FUNCTION_WORD_UNIT (WORD_UNIT / 10)
/* Squares of as many components as there can be fit in 64 bits below this. */
#define MAX_COMPONENT (INT64CONST(1) << 25)

/*
 * The function words of English, sorted: they say how the others belong together. Words
 * that turn a meaning round (no, not, nor, never, without) are none here.
 */
static const char *const function_words[] = {
	"a",	 "an",	  "and",   "are",	"as",	 "at",	  "be",	   "been",	"but",
	"by",	 "can",	  "could", "did",	"do",	 "does",  "for",   "from",	"had",
	"has",	 "have",  "he",	   "her",	"his",	 "how",	  "i",	   "if",	"in",
	"into",	 "is",	  "it",	   "its",	"may",	 "me",	  "might", "must",	"my",
	"of",	 "on",	  "or",	   "our",	"over",	 "she",	  "should", "so",	"some",
	"such",	 "than",  "that",  "the",	"their", "them",  "then",  "there", "these",
	"they",	 "this",  "those", "to",	"under", "up",	  "us",	   "was",	"we",
	"were",	 "what",  "when",  "where", "which", "while", "who",   "will",	"with",
	"would", "you",	  "your",
};

/* Code points above ASCII between words: spaces, punctuation, symbols. */
static const struct
{
	uint32 first;
	uint32 last;
} separators[] = {
	{0x0080, 0x00A9}, {0x00AB, 0x00B4}, {0x00B6, 0x00B9}, {0x00BB, 0x00BF},
	{0x00D7, 0x00D7}, {0x00F7, 0x00F7}, {0x037E, 0x037E}, {0x055A, 0x055F},
	{0x0589, 0x058A}, {0x05BE, 0x05BE}, {0x060C, 0x060D}, {0x061B, 0x061F},
	{0x066A, 0x066D}, {0x06D4, 0x06D4}, {0x0964, 0x0965}, {0x1680, 0x1680},
	{0x2000, 0x206F}, {0x20A0, 0x20CF}, {0x2190, 0x2BFF}, {0x2E00, 0x2E7F},
	{0x3000, 0x3004}, {0x3008, 0x3020}, {0x3030, 0x3030}, {0x303D, 0x303D},
	{0x30FB, 0x30FB}, {0xFE10, 0xFE1F}, {0xFE30, 0xFE6F}, {0xFEFF, 0xFEFF},
	{0xFF01, 0xFF0F}, {0xFF1A, 0xFF20}, {0xFF3B, 0xFF40}, {0xFF5B, 0xFF65},
};

/* A word of a text, in Text.folded with a space at either end. */
typedef struct Word
{
	uint64 hash;
	int offset;
	int size;
	bool whole; /* one feature, without n-grams */
	bool flat;	/* of a script without spaces */
} Word;

typedef struct Text
{
	StringInfoData folded;
	Word *words;
	int n_words;
	int max_words;
} Text;

/* ---- Words ---- */

static bool
is_separator(uint32 code)
{
	int low = 0;
	int high = lengthof(separators) - 1;

	if (code < 0x80)
		return !((code >= '0' && code <= '9') || (code >= 'A' && code <= 'Z') ||
				 (code >= 'a' && code <= 'z'));
	while (low <= high)
	{
		int middle = (low + high) / 2;

		if (code < separators[middle].first)
			high = middle - 1;
		else if (code > separators[middle].last)
			low = middle + 1;
		else
			return true;
	}
	return false;
}

static bool
is_apostrophe(uint32 code)
{
	return code == '\'' || code == 0x2019;
}

/* Whether a word ends here in + or #, as C++ does: nothing of a word comes after them. */
static bool
is_ending(const unsigned char *c, const unsigned char *end)
{
	if (*c != '+' && *c != '#')
		return false;
	while (c < end && (*c == '+' || *c == '#'))
		c++;
	return c == end || is_separator(utf8_to_unicode(c));
}

/* Thai to Tibetan, Burmese, Khmer, Chinese and Japanese. */
static bool
is_written_without_spaces(uint32 code)
{
	return (code >= 0x0E00 && code <= 0x0FFF) || (code >= 0x1000 && code <= 0x109F) ||
		   (code >= 0x1780 && code <= 0x17FF) || (code >= 0x2E80 && code <= 0x9FFF) ||
		   (code >= 0xF900 && code <= 0xFAFF) || (code >= 0x20000 && code <= 0x3FFFF);
}

static void
append_code(StringInfo string, uint32 code)
{
	unsigned char utf8[4];

	unicode_to_utf8(code, utf8);
	appendBinaryStringInfo(string, (char *) utf8, pg_utf_mblen(utf8));
}

static void
begin_word(Text *text, Word *word)
{
	*word = (Word){.offset = text->folded.len};
	appendStringInfoChar(&text->folded, ' ');
}

static void
end_word(Text *text, Word *word)
{
	appendStringInfoChar(&text->folded, ' ');
	word->size = text->folded.len - word->offset;
	word->hash = XXH64(text->folded.data + word->offset, word->size, 0);
	if (text->n_words == text->max_words)
	{
		text->max_words = Max(text->max_words * 2, 64);
		text->words = text->words == NULL
						  ? palloc(sizeof(Word) * text->max_words)
						  : repalloc_huge(text->words, sizeof(Word) * text->max_words);
	}
	text->words[text->n_words++] = *word;
}

/* Where there are no letters and digits at all, what is there is one word. */
static void
take_all(Text *text, norikv_slice utf8)
{
	Word word;

	begin_word(text, &word);
	appendBinaryStringInfo(&text->folded, utf8.data, utf8.size);
	word.whole = true;
	end_word(text, &word);
}

static void
find_words(Text *text, norikv_slice utf8)
{
	const unsigned char *c = utf8.data;
	const unsigned char *end = c + utf8.size;
	Word word;
	bool in_word = false;

	for (; c < end; c += pg_utf_mblen(c))
	{
		uint32 code = utf8_to_unicode(c);

		if (is_separator(code) && !(in_word && is_ending(c, end)))
		{
			if (in_word && !is_apostrophe(code))
			{
				end_word(text, &word);
				in_word = false;
			}
			continue;
		}
		if (!in_word)
			begin_word(text, &word);
		in_word = true;
		append_code(&text->folded, NorikvFoldCase(code));
		word.flat |= is_written_without_spaces(code);
		word.whole = !word.flat && (word.whole || (code >= '0' && code <= '9'));
	}
	if (in_word)
		end_word(text, &word);
	if (text->n_words == 0)
		take_all(text, utf8);
}

static int
compare_hashes(const void *a, const void *b)
{
	uint64 left = ((const Word *) a)->hash;
	uint64 right = ((const Word *) b)->hash;

	return (left > right) - (left < right);
}

/* The word without its spaces, between the names of the list. */
static bool
is_function_word(const Text *text, const Word *word)
{
	const char *letters = text->folded.data + word->offset + 1;
	int size = word->size - 2;
	int low = 0;
	int high = lengthof(function_words) - 1;

	while (low <= high)
	{
		int middle = (low + high) / 2;
		int order = strncmp(letters, function_words[middle], size);

		if (order == 0)
			order = function_words[middle][size] == '\0' ? 0 : -1;
		if (order == 0)
			return true;
		if (order < 0)
			high = middle - 1;
		else
			low = middle + 1;
	}
	return false;
}

/* ---- Features ---- */

/* The sum, in integers, so that the order of its terms does not matter. */
typedef struct Sum
{
	int64 *components;
	int dimensions;
} Sum;

/* The top bit is the sign, which no dimension looks at. */
static void
add_feature(Sum *sum, uint64 hash, double weight)
{
	int64 rounded = (int64) floor(weight + 0.5);
	uint64 index = (hash & PG_INT64_MAX) % sum->dimensions;

	sum->components[index] += (hash >> 63) != 0 ? -rounded : rounded;
}

static int
gram_weight(const Word *word, int position)
{
	if (word->flat)
		return GRAM_UNIT;
	return position < 4 ? GRAM_UNIT / (position + 1) : MIN_GRAM_WEIGHT;
}

static int
count_characters(const unsigned char *start, const unsigned char *end)
{
	int count = 0;

	for (; start < end; start += pg_utf_mblen(start))
		count++;
	return count;
}

/* Of the n-grams of a word, each by where it starts. */
static int64
sum_of_squares(const Word *word, int characters)
{
	int64 squares = 0;

	for (int n = MIN_GRAM; n <= MAX_GRAM; n++)
	{
		for (int i = 0; i + n <= characters; i++)
			squares += gram_weight(word, i) * gram_weight(word, i);
	}
	return squares;
}

static void
add_grams(Sum *sum, const Text *text, const Word *word, double weight)
{
	const unsigned char *start =
		(const unsigned char *) text->folded.data + word->offset;
	const unsigned char *end = start + word->size;
	double length = sqrt((double) sum_of_squares(word, count_characters(start, end)));

	for (int i = 0; start < end; i++, start += pg_utf_mblen(start))
	{
		const unsigned char *gram_end = start;

		for (int n = 1; n <= MAX_GRAM && gram_end < end; n++)
		{
			gram_end += pg_utf_mblen(gram_end);
			if (n >= MIN_GRAM)
				add_feature(sum, XXH64(start, gram_end - start, 0),
							weight * gram_weight(word, i) / length);
		}
	}
}

/* A word is added once, however often it is there. */
static void
add_words(Sum *sum, Text *text)
{
	int next;

	qsort(text->words, text->n_words, sizeof(Word), compare_hashes);
	for (int i = 0; i < text->n_words; i = next)
	{
		const Word *word = &text->words[i];
		double weight = is_function_word(text, word) ? FUNCTION_WORD_UNIT : WORD_UNIT;

		CHECK_FOR_INTERRUPTS();
		for (next = i + 1; next < text->n_words; next++)
		{
			if (text->words[next].hash != word->hash)
				break;
		}
		weight = sqrt((double) (next - i)) * weight;
		if (word->whole)
			add_feature(sum, word->hash, weight);
		else
			add_grams(sum, text, word, weight);
	}
}

/* ---- The vector ---- */

/* Signs can cancel out where there are few dimensions: any component will do then. */
static void
scale(const Sum *sum, uint64 seed, float *values)
{
	int64 greatest = 0;
	int64 divisor = 1;
	int64 squares = 0;

	for (int i = 0; i < sum->dimensions; i++)
		greatest = Max(greatest, sum->components[i] < 0 ? -sum->components[i]
														: sum->components[i]);
	if (greatest == 0)
		sum->components[seed % sum->dimensions] = 1;
	while (greatest / divisor >= MAX_COMPONENT)
		divisor *= 2;
	for (int i = 0; i < sum->dimensions; i++)
	{
		sum->components[i] /= divisor;
		squares += sum->components[i] * sum->components[i];
	}
	for (int i = 0; i < sum->dimensions; i++)
		values[i] = (float) ((double) sum->components[i] / sqrt((double) squares));
}

static void
embed_text(Datum datum, int dimensions, float *values)
{
	norikv_slice utf8 = NorikvBytesFromDatum(datum, true);
	Text text = {0};
	Sum sum = {.dimensions = dimensions};

	sum.components = palloc0(sizeof(int64) * dimensions);
	initStringInfo(&text.folded);
	find_words(&text, utf8);
	add_words(&sum, &text);
	scale(&sum, text.words[0].hash & PG_INT64_MAX, values);
}

static int
embed(const NorikvEmbedderOptions *options, const Datum *texts, int n_texts,
	  float **values)
{
	int dimensions = options->dimensions != 0 ? options->dimensions : DEFAULT_DIMENSIONS;
	MemoryContext context;
	MemoryContext old_context;

	*values = MemoryContextAllocHuge(CurrentMemoryContext,
									 sizeof(float) * (Size) n_texts * dimensions);
	context = AllocSetContextCreate(CurrentMemoryContext, "norikv text",
									ALLOCSET_DEFAULT_SIZES);
	old_context = MemoryContextSwitchTo(context);
	for (int i = 0; i < n_texts; i++)
	{
		CHECK_FOR_INTERRUPTS();
		embed_text(texts[i], dimensions, *values + (Size) i * dimensions);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old_context);
	MemoryContextDelete(context);
	return dimensions;
}

const NorikvEmbedder NorikvLexicalEmbedder = {"lexical", embed};
