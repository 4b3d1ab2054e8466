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
/* Says so, and aborts. */
_Noreturn void alloc_failed(size_t size);

/*
 * Whole pages of the kernel's, zeroed, for what is large: they are resident
 * only where they were touched, and leave when they are given back, whatever
 * the allocator's heap looks like. NULL: there are none (too many mappings).
 */
void *pages_take(size_t size);
void pages_give(void *at, size_t size);
/* Stays, but is not resident until it is touched again. */
void pages_empty(void *at, size_t size);
size_t pages_rounded(size_t size);

#endif
