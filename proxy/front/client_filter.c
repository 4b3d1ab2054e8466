/* See client_filter.h. Errors are Redis's. */
#include "front/client_filter.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "wire/reply.h"

static bool
is_word(struct slice argument, const char *word)
{
	return slice_equal_nocase(argument, slice_of(word));
}

static bool
refuse(struct buf *out, const char *error)
{
	reply_error(out, "%s", error);
	return false;
}

/* ---- what both know ---- */

static bool
read_type(struct client_filter *filter, struct slice word, struct buf *out)
{
	static const struct {
		const char *name;
		enum client_type type;
	} types[] = {
		{ "normal", CLIENT_NORMAL },
		{ "master", CLIENT_MASTER },
		{ "replica", CLIENT_REPLICA },
		{ "slave", CLIENT_REPLICA },
		{ "pubsub", CLIENT_PUBSUB },
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (is_word(word, types[i].name)) {
			filter->has_type = true;
			filter->type = types[i].type;
			return true;
		}
	}
	reply_error(out, "ERR Unknown client type '%.*s'", (int)word.len, word.at);
	return false;
}

static void
make_ids(struct client_filter *filter, size_t count)
{
	filter->ids = alloc_again(filter->ids, count * sizeof(*filter->ids));
	filter->id_count = count;
}

static int
compare_ids(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

	return (left > right) - (left < right);
}

/* Thousands of ids against thousands of clients. */
static void
sort_ids(struct client_filter *filter)
{
	size_t size = filter->id_count * sizeof(*filter->ids);

	filter->sorted = alloc_again(filter->sorted, size);
	memcpy(filter->sorted, filter->ids, size);
	qsort(filter->sorted, filter->id_count, sizeof(*filter->sorted), compare_ids);
}

static void
set_text(char **text, struct slice value)
{
	free(*text);
	*text = slice_dup(value);
}

void
client_filter_free(struct client_filter *filter)
{
	free(filter->ids);
	free(filter->sorted);
	free(filter->address);
	free(filter->local_address);
	*filter = (struct client_filter){ 0 };
}

/* ---- LIST ---- */

bool
client_filter_of_list(struct client_filter *filter, const struct slice *argv, size_t argc,
    struct buf *out)
{
	*filter = (struct client_filter){ 0 };
	if (argc == 2)
		return true;
	if (argc == 4 && is_word(argv[2], "type"))
		return read_type(filter, argv[3], out);
	if (argc < 4 || !is_word(argv[2], "id"))
		return refuse(out, "ERR syntax error");
	make_ids(filter, argc - 3);
	for (size_t i = 3; i < argc; i++) {
		if (!slice_to_int64(argv[i], &filter->ids[i - 3]))
			return refuse(out, "ERR Invalid client ID");
	}
	sort_ids(filter);
	return true;
}

/* ---- KILL ---- */

static bool
read_kill_id(struct client_filter *filter, struct slice value, struct buf *out)
{
	int64_t id;

	if (!slice_to_int64(value, &id) || id <= 0)
		return refuse(out, "ERR client-id should be greater than 0");
	make_ids(filter, 1); /* the last one counts, as in Redis */
	filter->ids[0] = id;
	sort_ids(filter);
	return true;
}

static bool
read_address(struct client_filter *filter, struct slice value, struct buf *out)
{
	(void)out;
	set_text(&filter->address, value);
	return true;
}

static bool
read_local_address(struct client_filter *filter, struct slice value, struct buf *out)
{
	(void)out;
	set_text(&filter->local_address, value);
	return true;
}

/* There is one user here. */
static bool
read_user(struct client_filter *filter, struct slice value, struct buf *out)
{
	(void)filter;
	if (slice_equal(value, SLICE("default")))
		return true;
	reply_error(out, "ERR No such user '%.*s'", (int)value.len, value.at);
	return false;
}

static bool
read_skip_me(struct client_filter *filter, struct slice value, struct buf *out)
{
	filter->skips_asker = is_word(value, "yes");
	return filter->skips_asker || is_word(value, "no") || refuse(out, "ERR syntax error");
}

static bool
read_max_age(struct client_filter *filter, struct slice value, struct buf *out)
{
	if (!slice_to_int64(value, &filter->min_age_s))
		return refuse(out, "ERR maxage is not an integer or out of range");
	return filter->min_age_s > 0 || refuse(out, "ERR maxage should be greater than 0");
}

static const struct kill_option {
	const char *name;
	bool (*read)(struct client_filter *filter, struct slice value, struct buf *out);
} kill_options[] = {
	{ "id", read_kill_id },
	{ "addr", read_address },
	{ "laddr", read_local_address },
	{ "type", read_type },
	{ "user", read_user },
	{ "skipme", read_skip_me },
	{ "maxage", read_max_age },
};

static const struct kill_option *
find_option(struct slice word)
{
	for (size_t i = 0; i < sizeof(kill_options) / sizeof(kill_options[0]); i++) {
		if (is_word(word, kill_options[i].name))
			return &kill_options[i];
	}
	return NULL;
}

bool
client_filter_of_kill(struct client_filter *filter, const struct slice *argv, size_t argc,
    struct buf *out)
{
	*filter = (struct client_filter){ .skips_asker = argc != 3, .is_old_form = argc == 3 };
	if (filter->is_old_form)
		return read_address(filter, argv[2], out);
	for (size_t i = 2; i < argc; i += 2) {
		const struct kill_option *option = find_option(argv[i]);

		if (option == NULL || i + 1 >= argc)
			return refuse(out, "ERR syntax error");
		if (!option->read(filter, argv[i + 1], out))
			return false;
	}
	return true;
}

/* ---- choosing ---- */

static bool
has_id(const struct client_filter *filter, int64_t id)
{
	return bsearch(&id, filter->sorted, filter->id_count, sizeof(id), compare_ids) != NULL;
}

bool
client_filter_takes(const struct client_filter *filter, const struct client_facts *facts)
{
	return (filter->ids == NULL || has_id(filter, facts->id)) &&
	    (filter->address == NULL || strcmp(filter->address, facts->address) == 0) &&
	    (filter->local_address == NULL ||
		strcmp(filter->local_address, facts->local_address) == 0) &&
	    (!filter->has_type || filter->type == facts->type) && facts->age_s >= filter->min_age_s;
}
