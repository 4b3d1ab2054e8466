/* See alloc.h. Any thread. */
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"

static void *
or_die(void *block, size_t size)
{
	if (block == NULL && size > 0)
		alloc_failed(size);
	return block;
}

_Noreturn void
alloc_failed(size_t size)
{
	log_error("out of memory: %zu bytes were not to be had", size);
	abort();
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

/* ---- pages ---- */

#define PAGE_BYTES 4096 /* of every machine that we know */

void *
pages_take(size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at != MAP_FAILED ? at : NULL;
}

void
pages_give(void *at, size_t size)
{
	/* A hole in a mapping is one mapping more, and their number is limited. */
	if (munmap(at, size) != 0)
		pages_empty(at, size);
}

void
pages_empty(void *at, size_t size)
{
	(void)madvise(at, size, MADV_DONTNEED);
}

size_t
pages_rounded(size_t size)
{
	return (size + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}
