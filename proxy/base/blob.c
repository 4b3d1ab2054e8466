/* See blob.h. */
#include "base/blob.h"

#include <malloc.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/held.h"

/*
 * Larger ones have pages of their own. Values that live long, and of sizes
 * that nobody knows before, leave the heap full of holes: resident was up to
 * half more than what was counted.
 */
#define PAGES_FROM_BYTES 16384
#define HEAP_OVERHEAD 8

struct blob *
blob_make(size_t len)
{
	size_t size = sizeof(struct blob) + len;
	struct blob *blob = len >= PAGES_FROM_BYTES ? pages_take(size) : NULL;
	bool has_pages = blob != NULL;

	if (!has_pages) {
		blob = alloc(size);
		held_add(size);
	}
	atomic_init(&blob->refs, 1);
	blob->len = (unsigned)len & INT32_MAX;
	blob->has_pages = has_pages;
	return blob;
}

struct blob *
blob_new(struct slice bytes)
{
	struct blob *blob = blob_make(bytes.len);

	if (bytes.len > 0)
		memcpy(blob->bytes, bytes.at, bytes.len);
	return blob;
}

struct blob *
blob_ref(struct blob *blob)
{
	atomic_fetch_add_explicit(&blob->refs, 1, memory_order_relaxed);
	return blob;
}

void
blob_unref(struct blob *blob)
{
	/* acq_rel: what others read of it happened before it is freed. */
	if (blob == NULL || atomic_fetch_sub_explicit(&blob->refs, 1, memory_order_acq_rel) > 1)
		return;
	size_t size = sizeof(*blob) + blob->len;
	if (blob->has_pages) {
		pages_give(blob, size);
	} else {
		held_sub(size);
		free(blob);
	}
}

size_t
blob_size(const struct blob *blob)
{
	if (blob->has_pages)
		return pages_rounded(sizeof(*blob) + blob->len);
	return malloc_usable_size((void *)(uintptr_t)blob) + HEAP_OVERHEAD;
}
