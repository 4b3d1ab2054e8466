/* See page.h. */
#include "front/page.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/log.h"

#define KEYS 10

/* The compiler's own way to take in a file; its path is from where make runs. */
__asm__(".pushsection .rodata\n"
	".globl page_begin\n"
	".globl page_end\n"
	"page_begin: .incbin \"proxy/front/page/status.html\"\n"
	"page_end: .byte 0\n"
	".popsection\n");

extern const char page_begin[], page_end[];

struct slice
page_html(void)
{
	return slice_make(page_begin, (uintptr_t)page_end - (uintptr_t)page_begin);
}

void
page_keys_json(struct cache *cache, struct buf *out)
{
	struct cache_hot_key keys[KEYS];
	size_t found = cache_hottest(cache, keys, KEYS);
	char name[LOG_KEY_SIZE];

	buf_append(out, "[", 1);
	for (size_t i = 0; i < found; i++) {
		/* log_key() leaves letters and a hash: nothing that JSON would have escaped. */
		buf_printf(out, "%s{\"key\":\"%s\",\"hits\":%" PRId64 ",\"bytes\":%" PRId64 "}",
		    i > 0 ? "," : "", log_key(slice_make(keys[i].key, keys[i].key_len), name),
		    keys[i].hits, keys[i].bytes);
		free(keys[i].key);
	}
	buf_append_slice(out, SLICE("]\n"));
}
