/* See traffic.h. */
#include "traffic.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options options = { 0, 50, 1, GET, false, 100000, 128, 2, 0, 0, 1, 0 };
uint64_t traffic_errors, traffic_wrong;

static int64_t next_key; /* FILL and WARM */
static double *zipf_sums;

/* ---- keys and values ---- */

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift
 * generators, scrambled" (2016). */
static uint64_t
draw(void)
{
	options.seed ^= options.seed >> 12;
	options.seed ^= options.seed << 25;
	options.seed ^= options.seed >> 27;
	return options.seed * UINT64_C(2685821657736338717);
}

void
traffic_start(void)
{
	double sum = 0;

	if (options.zipf == 0)
		return;
	zipf_sums = malloc((size_t)options.keys * sizeof(double));
	for (int64_t i = 0; i < options.keys; i++)
		zipf_sums[i] = sum += 1 / pow((double)(i + 1), options.zipf);
}

static int64_t
draw_key(void)
{
	if (options.mode == FILL || options.mode == WARM)
		return next_key++;
	if (options.zipf == 0)
		return (int64_t)(draw() % (uint64_t)options.keys);
	double wanted = (double)(draw() >> 11) / 9007199254740992.0 * zipf_sums[options.keys - 1];
	int64_t low = 0, high = options.keys - 1;
	while (low < high) {
		int64_t middle = (low + high) / 2;
		if (zipf_sums[middle] < wanted)
			low = middle + 1;
		else
			high = middle;
	}
	/* Popularity has nothing to do with the order of ids. */
	return (int64_t)((uint64_t)low * UINT64_C(2654435761) % (uint64_t)options.keys);
}

static char
value_byte(int64_t key, int64_t place)
{
	return (char)('a' + (uint64_t)(key * 7 + place) % 26);
}

static bool
is_value(int64_t key, const char *at, int64_t len)
{
	char id[32];

	if (options.mode == PROFILE) {
		int id_len = snprintf(id, sizeof(id), "\"n\":%" PRId64 "}", key + 1);
		return memmem(at, (size_t)len, id, (size_t)id_len) != NULL;
	}
	if (len != options.value_bytes)
		return false;
	for (int64_t i = 0; i < len; i++) {
		if (at[i] != value_byte(key, i))
			return false;
	}
	return true;
}

/* ---- requests ---- */

static char *
room(struct connection *c, size_t len)
{
	if (c->out_len + len > c->out_room) {
		c->out_room = (c->out_len + len) * 2;
		c->out = realloc(c->out, c->out_room);
	}
	return c->out + c->out_len;
}

static void
append_key(struct connection *c, int64_t key)
{
	char name[40];
	int len = options.mode == PROFILE
	    ? snprintf(name, sizeof(name), "profile:%" PRId64, key + 1)
	    : snprintf(name, sizeof(name), "key:%016" PRId64, key);

	c->out_len +=
	    (size_t)(options.is_memcached ? sprintf(room(c, 64), "get %s\r\n", name)
					  : sprintf(room(c, 64), "$%d\r\n%s\r\n", len, name));
}

static void
append_value(struct connection *c, int64_t key)
{
	c->out_len += (size_t)sprintf(room(c, 32), "$%" PRId64 "\r\n", options.value_bytes);
	char *at = room(c, (size_t)options.value_bytes + 2);
	for (int64_t i = 0; i < options.value_bytes; i++)
		at[i] = value_byte(key, i);
	memcpy(at + options.value_bytes, "\r\n", 2);
	c->out_len += (size_t)options.value_bytes + 2;
}

void
traffic_append_request(struct connection *c, int64_t due_ns)
{
	int64_t key = draw_key();
	bool is_write = options.mode == SET || options.mode == FILL;

	c->queue[c->tail++ % MAX_WAITING] = (struct waiting){ key, due_ns };
	if (options.is_memcached) {
		append_key(c, key);
	} else if (options.mode == MGET) {
		c->out_len +=
		    (size_t)sprintf(room(c, 64), "*%d\r\n$4\r\nMGET\r\n", KEYS_A_MGET + 1);
		for (int i = 0; i < KEYS_A_MGET; i++)
			append_key(c, (key + i) % options.keys);
	} else {
		c->out_len += (size_t)sprintf(room(c, 64), "*%d\r\n$3\r\n%s\r\n", is_write ? 3 : 2,
		    is_write ? "SET" : "GET");
		append_key(c, key);
		if (is_write)
			append_value(c, key);
	}
}

/* ---- answers ---- */

/* "$5\r\n" and the like: its number, and where it ends; false: not whole. */
static bool
read_line(const char *at, const char *end, int64_t *number, const char **after)
{
	const char *newline = memchr(at, '\n', (size_t)(end - at));

	if (newline == NULL)
		return false;
	*number = strtoll(at + 1, NULL, 10);
	*after = newline + 1;
	return true;
}

/* One bulk string of this key; NULL: not whole. */
static const char *
read_bulk(const char *at, const char *end, int64_t key)
{
	const char *value;
	int64_t len;

	if (at == end || !read_line(at, end, &len, &value))
		return NULL;
	if (*at != '$' || len < 0) {
		traffic_wrong++;
		return value;
	}
	if (end - value < len + 2)
		return NULL;
	traffic_wrong += !is_value(key, value, len);
	return value + len + 2;
}

static const char *
read_memcached(const char *at, const char *end, int64_t key)
{
	const char *value, *space;
	int64_t ignored, len;

	if (at == end || !read_line(at, end, &ignored, &value))
		return NULL;
	if (*at != 'V') {
		traffic_wrong++;
		return value;
	}
	space = memrchr(at, ' ', (size_t)(value - at));
	len = strtoll(space + 1, NULL, 10);
	if (end - value < len + 7)
		return NULL;
	traffic_wrong += !is_value(key, value, len);
	return value + len + 7; /* and "\r\nEND\r\n" */
}

/* Where the answer to this request ends; NULL: not whole. */
const char *
traffic_read_answer(const char *at, const char *end, int64_t key)
{
	const char *after;
	int64_t count;

	if (options.is_memcached)
		return read_memcached(at, end, key);
	if (*at == '-') {
		traffic_errors++;
		return read_line(at, end, &count, &after) ? after : (traffic_errors--, NULL);
	}
	if (options.mode == SET || options.mode == FILL) {
		if (!read_line(at, end, &count, &after))
			return NULL;
		traffic_wrong += *at != '+';
		return after;
	}
	if (options.mode != MGET)
		return read_bulk(at, end, key);
	uint64_t wrong_before = traffic_wrong;
	if (!read_line(at, end, &count, &after))
		return NULL;
	for (int i = 0; i < KEYS_A_MGET && after != NULL; i++)
		after = read_bulk(after, end, (key + i) % options.keys);
	if (after == NULL)
		traffic_wrong = wrong_before;
	return after;
}

int64_t
traffic_keys_used(void)
{
	return next_key;
}
