/*
 * A blob is an immutable run of bytes shared by reference count: a cached
 * value that one thread serves while another replaces it.
 *
 * blob_new() gives the first reference. Any thread may ref and unref; the
 * last unref frees. The bytes never change after blob_new() returns, except
 * by its maker through blob_make() before it is shared.
 */
#ifndef SIDECAR_BASE_BLOB_H
#define SIDECAR_BASE_BLOB_H

#include <stdatomic.h>

#include "base/slice.h"

struct blob {
	atomic_uint refs;
	unsigned len : 31;
	unsigned has_pages : 1; /* of its own, not a block of the heap */
	char bytes[];
};

struct blob *blob_new(struct slice bytes);
struct blob *blob_make(size_t len); /* bytes not yet set */
struct blob *blob_ref(struct blob *blob);
void blob_unref(struct blob *blob); /* NULL is fine */

/* The memory that it takes. */
size_t blob_size(const struct blob *blob);

static inline struct slice
blob_slice(const struct blob *blob)
{
	return (struct slice){ blob->bytes, blob->len };
}

#endif
