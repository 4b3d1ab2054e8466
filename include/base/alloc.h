/*
 * Memory or death: a proxy that has no memory left cannot keep its promises,
 * so these log one line and abort instead of returning NULL. Whatever a
 * client can make large is bounded by a setting before it gets here.
 */
#ifndef SIDECAR_BASE_ALLOC_H
#define SIDECAR_BASE_ALLOC_H

#include <stddef.h>

void *alloc(size_t size);
void *alloc_zero(size_t size);
void *alloc_again(void *block, size_t size);
char *alloc_text(const char *text);

#endif
