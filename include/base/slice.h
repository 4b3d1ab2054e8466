/*
 * A slice is a borrowed run of bytes: valid until the call that it was given
 * to returns, never freed by the receiver, not terminated by NUL.
 */
#ifndef SIDECAR_BASE_SLICE_H
#define SIDECAR_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
	const char *at;
	size_t len;
};

#define SLICE(literal) ((struct slice){ "" literal, sizeof(literal) - 1 })
/* The same, where C wants a constant. */
#define SLICE_INIT(literal) \
	{ \
		"" literal, sizeof(literal) - 1 \
	}
#define SLICE_NONE ((struct slice){ NULL, 0 })

/* Marks a result that the caller has to look at. */
#define MUST_CHECK __attribute__((warn_unused_result))

static inline struct slice
slice_of(const char *text)
{
	return (struct slice){ text, text != NULL ? strlen(text) : 0 };
}

static inline struct slice
slice_make(const char *at, size_t len)
{
	return (struct slice){ at, len };
}

static inline bool
slice_equal(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

static inline bool
slice_starts(struct slice whole, struct slice start)
{
	return whole.len >= start.len && memcmp(whole.at, start.at, start.len) == 0;
}

/* Of one length: whether they are equal but for the case of ASCII letters. */
bool slice_same_nocase(struct slice a, struct slice b);

/* As slice_equal(), but ASCII letters of either case are the same. */
static inline bool
slice_equal_nocase(struct slice a, struct slice b)
{
	return a.len == b.len && slice_same_nocase(a, b);
}

/* The same with a word that begins with a letter. Most words differ in their
 * first letter, so that a table of words is soon searched. */
static inline bool
slice_is_word(struct slice a, const char *word)
{
	return a.len > 0 && (a.at[0] | 32) == (word[0] | 32) &&
	    slice_equal_nocase(a, slice_of(word));
}

/* Decimal, optional '-', nothing else around it; false when it is not one
 * or does not fit. */
MUST_CHECK bool slice_to_int64(struct slice text, int64_t *number);

/* A copy that ends in NUL; the caller frees it. */
char *slice_dup(struct slice text);

#endif
