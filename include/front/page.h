/*
 * The status page: one HTML file with its styles, its script and the chart
 * library in it, built into the program (proxy/front/page/make_page.py). It
 * asks /status.json, /history.json and /keys.json of the same port, and
 * nobody else: it works without the internet.
 */
#ifndef SIDECAR_FRONT_PAGE_H
#define SIDECAR_FRONT_PAGE_H

#include "base/buf.h"
#include "store/cache.h"

/* The page's bytes, for ever. */
struct slice page_html(void);

/* [{"key": "profile:#9f2c41", "hits": 12, "bytes": 340}, ...]: the hottest
 * keys, hashed as in the log. Walks the whole cache: not every second. */
void page_keys_json(struct cache *cache, struct buf *out);

#endif
