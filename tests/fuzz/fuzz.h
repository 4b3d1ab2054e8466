/*
 * A fuzz target: FUZZ(text) { ... } is called with whatever libFuzzer makes
 * up. It crashes, is stopped by a sanitizer, or breaks a claim; all three end
 * it. The bytes lie in a block of their own, without a byte to spare.
 */
#ifndef SIDECAR_TESTS_FUZZ_H
#define SIDECAR_TESTS_FUZZ_H

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"

#define FUZZ(text)                                                                                 \
	int LLVMFuzzerTestOneInput(const char *at, size_t len);                                    \
	static void fuzz_one(struct slice text);                                                   \
	int LLVMFuzzerTestOneInput(const char *at, size_t len)                                     \
	{                                                                                          \
		fuzz_one(slice_make(at, len));                                                     \
		return 0;                                                                          \
	}                                                                                          \
	static void fuzz_one(struct slice text)

#define CLAIM(claim)                                                                               \
	do {                                                                                       \
		if (!(claim)) {                                                                    \
			printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #claim);                 \
			fflush(stdout);                                                            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* A copy that ends where its block does; free() it. */
static inline char *
fuzz_block(struct slice bytes)
{
	char *block = malloc(bytes.len > 0 ? bytes.len : 1);

	if (bytes.len > 0)
		memcpy(block, bytes.at, bytes.len);
	return block;
}

#endif
