/* See blob.h. */
#include "base/blob.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/held.h"

struct blob *
blob_make(size_t len)
{
	struct blob *blob = alloc(sizeof(*blob) + len);

	held_add(sizeof(*blob) + len);
	atomic_init(&blob->refs, 1);
	blob->len = (uint32_t)len;
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
	if (blob == NULL || atomic_fetch_sub_explicit(&blob->refs, 1, memory_order_acq_rel) != 1)
		return;
	held_sub(sizeof(*blob) + blob->len);
	free(blob);
}
