/* See alloc.h. Any thread. */
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static void *
or_die(void *block, size_t size)
{
	if (block == NULL && size > 0) {
		log_error("out of memory: %zu bytes were not to be had", size);
		abort();
	}
	return block;
}

void *
alloc(size_t size)
{
	return or_die(malloc(size), size);
}

void *
alloc_zero(size_t size)
{
	return or_die(calloc(1, size), size);
}

void *
alloc_again(void *block, size_t size)
{
	return or_die(realloc(block, size), size);
}

char *
alloc_text(const char *text)
{
	size_t size = strlen(text) + 1;

	return memcpy(alloc(size), text, size);
}
