/* See links.h. */
#include "ladder/links.h"

#include <stdlib.h>

#include "base/alloc.h"

#define VERSIONS 2 /* RESP2 and RESP3 */
#define CLIENT_NAME "sidecar"

struct links {
	struct event_base *base;
	struct evdns_base *dns;
	const struct redis_target *target;
	struct redis_link_options options;
	struct breaker *breaker;
	struct redis_metrics *metrics;
	unsigned connections, next;
	bool is_dirty;             /* something was sent since the last flush */
	struct redis_link *rows[]; /* VERSIONS rows of `connections`; NULL: not used yet */
};

struct links *
links_new(struct event_base *base, struct evdns_base *dns, const struct redis_target *target,
    unsigned connections, int64_t connect_ms, struct breaker *breaker,
    struct redis_metrics *metrics, void (*orphaned)(int64_t client_id, void *arg), void *arg)
{
	struct links *links =
	    alloc_zero(sizeof(*links) + VERSIONS * connections * sizeof(struct redis_link *));

	links->base = base;
	links->dns = dns;
	links->target = target;
	links->connections = connections;
	links->breaker = breaker;
	links->metrics = metrics;
	links->options = (struct redis_link_options){
		.connect_ms = connect_ms,
		.client_name = CLIENT_NAME,
		.orphaned = orphaned,
		.arg = arg,
	};
	return links;
}

void
links_shut(struct links *links)
{
	links->target = NULL;
	for (unsigned i = 0; i < VERSIONS * links->connections; i++) {
		redis_link_free(links->rows[i]);
		links->rows[i] = NULL;
	}
}

bool
links_are_shut(const struct links *links)
{
	return links->target == NULL;
}

void
links_free(struct links *links)
{
	if (links == NULL)
		return;
	links_shut(links);
	free(links);
}

static struct redis_link **
place(struct links *links, struct link_choice choice)
{
	return &links->rows[(choice.resp == 3 ? links->connections : 0) +
	    choice.index % links->connections];
}

bool
links_send(struct links *links, struct link_choice choice, struct slice command,
    struct redis_call *call)
{
	struct redis_link **link = place(links, choice);

	if (links->target == NULL)
		return false;
	if (*link == NULL) {
		links->options.resp_version = choice.resp;
		*link = redis_link_new(links->base, links->dns, links->target, &links->options,
		    links->breaker, links->metrics);
	}
	links->is_dirty = true;
	return redis_link_send(*link, command, call);
}

void
links_overdue(struct links *links, struct link_choice choice, struct redis_call *call)
{
	redis_link_overdue(*place(links, choice), call);
}

void
links_flush(struct links *links)
{
	if (!links->is_dirty)
		return;
	links->is_dirty = false;
	for (unsigned i = 0; i < VERSIONS * links->connections; i++) {
		if (links->rows[i] != NULL && redis_link_is_dirty(links->rows[i]))
			redis_link_flush(links->rows[i]);
	}
}

void
links_on_breaker(struct links *links)
{
	bool is_open = !breaker_allows(links->breaker);

	for (unsigned i = 0; i < VERSIONS * links->connections; i++) {
		if (links->rows[i] == NULL)
			continue;
		if (is_open)
			redis_link_close(links->rows[i]);
		else
			redis_link_connect(links->rows[i]);
	}
}

uintptr_t
links_way(const struct links *links, struct link_choice choice)
{
	return (uintptr_t)&links
	    ->rows[(choice.resp == 3 ? links->connections : 0) + choice.index % links->connections];
}

unsigned
links_next_index(struct links *links)
{
	return links->next++ % links->connections;
}
