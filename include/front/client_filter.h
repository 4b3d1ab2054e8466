/* Which clients CLIENT LIST shows and CLIENT KILL closes. Pure. */
#ifndef SIDECAR_FRONT_CLIENT_FILTER_H
#define SIDECAR_FRONT_CLIENT_FILTER_H

#include "front/client_facts.h"

struct client_filter {
	int64_t *ids;    /* NULL: any. In the order asked for */
	int64_t *sorted; /* the same, for looking up */
	size_t id_count;
	char *address, *local_address; /* NULL: any */
	bool has_type;
	enum client_type type;
	int64_t min_age_s; /* 0: any */
	bool skips_asker;
	bool is_old_form; /* KILL addr:port, answered by OK */
};

/* `argv` as it came, "CLIENT LIST ..." or "CLIENT KILL ...". False: Redis's
 * error is written to `out`. client_filter_free() in either case. */
MUST_CHECK bool client_filter_of_list(struct client_filter *filter, const struct slice *argv,
    size_t argc, struct buf *out);
MUST_CHECK bool client_filter_of_kill(struct client_filter *filter, const struct slice *argv,
    size_t argc, struct buf *out);
void client_filter_free(struct client_filter *filter);

bool client_filter_takes(const struct client_filter *filter, const struct client_facts *facts);

#endif
