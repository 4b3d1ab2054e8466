/* See slice.h. Any thread. */
#include "base/slice.h"

#include "base/alloc.h"

bool
slice_same_nocase(struct slice a, struct slice b)
{
	for (size_t i = 0; i < a.len; i++) {
		unsigned differs = (unsigned char)(a.at[i] ^ b.at[i]);
		unsigned letter = (unsigned char)(a.at[i] | 32);
		if (differs != 0 && (differs != 32 || letter < 'a' || letter > 'z'))
			return false;
	}
	return true;
}

bool
slice_to_int64(struct slice text, int64_t *number)
{
	size_t i = 0;
	bool is_negative = text.len > 0 && text.at[0] == '-';
	int64_t n = 0; /* counted downwards: INT64_MIN has no positive twin */

	if (is_negative)
		i++;
	if (i == text.len)
		return false;
	for (; i < text.len; i++) {
		char c = text.at[i];
		if (c < '0' || c > '9')
			return false;
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_sub_overflow(n, c - '0', &n))
			return false;
	}
	if (!is_negative && n == INT64_MIN)
		return false;
	*number = is_negative ? n : -n;
	return true;
}

char *
slice_dup(struct slice text)
{
	char *copy = alloc(text.len + 1);

	if (text.len > 0)
		memcpy(copy, text.at, text.len);
	copy[text.len] = '\0';
	return copy;
}
