/* See traffic.h. */
#include "traffic.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READY_REQUESTS 256

struct options options = { .connections = 50,
	.pipeline = 1,
	.keys = 100000,
	.key_bytes = 20,
	.value_bytes = 128,
	.keys_a_mget = 100,
	.check_every = 1,
	.seconds = 2,
	.seed = 1,
	.sources = 1 };
uint64_t traffic_errors, traffic_wrong;
unsigned traffic_queue_room = 64;

static int64_t next_key;   /* FILL and WARM */
static char *letters;      /* the alphabet again and again: a value is a piece of it */
static int64_t mget_bytes; /* of a whole answer */
static uint64_t answers;
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
	char line[32];
	double sum = 0;

	next_key = options.first_key;
	/* Open loop: what is due in ten seconds. */
	while (traffic_queue_room < MAX_WAITING &&
	    (traffic_queue_room < options.pipeline ||
		traffic_queue_room < 10 * options.rate / (double)options.connections))
		traffic_queue_room *= 2;
	letters = malloc((size_t)options.value_bytes + 26);
	for (int64_t i = 0; i < options.value_bytes + 26; i++)
		letters[i] = (char)('a' + i % 26);
	mget_bytes = sprintf(line, "*%" PRId64 "\r\n", options.keys_a_mget) +
	    options.keys_a_mget *
		(sprintf(line, "$%" PRId64 "\r\n", options.value_bytes) + options.value_bytes + 2);
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

static const char *
value_of(int64_t key)
{
	return letters + (uint64_t)key * 7 % 26;
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
	return answers % (uint64_t)options.check_every != 0 ||
	    memcmp(at, value_of(key), (size_t)len) == 0;
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

/* "$20\r\nkey:0000000000000042\r\n", or longer. By hand: with printf a key would cost as
 * much here as in the server. */
static void
append_key(struct connection *c, int64_t key)
{
	size_t key_len = (size_t)options.key_bytes;
	char *at = room(c, key_len + 64);

	if (options.mode == PROFILE) {
		char name[40];
		int len = snprintf(name, sizeof(name), "profile:%" PRId64, key + 1);
		c->out_len += (size_t)sprintf(at, "$%d\r\n%s\r\n", len, name);
		return;
	}
	static char before[32];
	static size_t len;
	if (len == 0)
		len = (size_t)sprintf(before, options.is_memcached ? " " : "$%zu\r\n", key_len);
	memcpy(at, before, len);
	memcpy(at + len, "key:", 4);
	memset(at + len + 4, '0', key_len - 4);
	memcpy(at + len + key_len, "\r\n", 2);
	for (char *digit = at + len + key_len - 1; key > 0; key /= 10)
		*digit-- = (char)('0' + key % 10);
	c->out_len += len + key_len + (options.is_memcached ? 0 : 2);
}

static void
append_value(struct connection *c, int64_t key)
{
	c->out_len += (size_t)sprintf(room(c, 32), "$%" PRId64 "\r\n", options.value_bytes);
	char *at = room(c, (size_t)options.value_bytes + 2);
	memcpy(at, value_of(key), (size_t)options.value_bytes);
	memcpy(at + options.value_bytes, "\r\n", 2);
	c->out_len += (size_t)options.value_bytes + 2;
}

static void
append_text(struct connection *c, const char *text)
{
	size_t len = strlen(text);

	memcpy(room(c, len), text, len);
	c->out_len += len;
}

static void
append_new_request(struct connection *c, int64_t key)
{
	bool is_write = options.mode == SET || options.mode == FILL;

	if (options.is_memcached) {
		append_text(c, "get");
		for (int i = 0; i < (options.mode == MGET ? options.keys_a_mget : 1); i++)
			append_key(c, (key + i) % options.keys);
		append_text(c, "\r\n");
	} else if (options.mode == MGET) {
		c->out_len += (size_t)sprintf(room(c, 64), "*%" PRId64 "\r\n$4\r\nMGET\r\n",
		    options.keys_a_mget + 1);
		for (int i = 0; i < options.keys_a_mget; i++)
			append_key(c, (key + i) % options.keys);
	} else {
		append_text(c, is_write ? "*3\r\n$3\r\nSET\r\n" : "*2\r\n$3\r\nGET\r\n");
		append_key(c, key);
		if (is_write)
			append_value(c, key);
	}
}

/* Requests that are made once and sent again and again: where few answers are
 * compared, the load is not to be the limit. */
static void
append_ready_request(struct connection *c, int64_t *key)
{
	static struct ready {
		struct connection bytes;
		int64_t key;
	} all[READY_REQUESTS];
	struct ready *ready = &all[draw() % READY_REQUESTS];

	if (ready->bytes.out_len == 0) {
		ready->key = *key;
		append_new_request(&ready->bytes, *key);
	}
	*key = ready->key;
	if (c->ready_len > 0) { /* what is left of the last one */
		memcpy(room(c, c->ready_len), c->ready, c->ready_len);
		c->out_len += c->ready_len;
	}
	c->ready = ready->bytes.out;
	c->ready_len = ready->bytes.out_len;
}

void
traffic_append_request(struct connection *c, int64_t due_ns)
{
	int64_t key = draw_key();

	if (options.check_every > 1)
		append_ready_request(c, &key);
	else
		append_new_request(c, key);
	c->queue[c->tail++ % traffic_queue_room] = (struct waiting){ key, due_ns };
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

/* "VALUE key:0000000000000042 0 128\r\n", the value, "\r\n"; NULL: not whole. */
static const char *
read_memcached_value(const char *at, const char *end, int64_t key)
{
	const char *value, *space;
	int64_t ignored, len;

	if (at == end || !read_line(at, end, &ignored, &value))
		return NULL;
	space = memrchr(at, ' ', (size_t)(value - at));
	if (*at != 'V' || space == NULL) {
		traffic_wrong++;
		return value;
	}
	len = strtoll(space + 1, NULL, 10);
	if (end - value < len + 2)
		return NULL;
	traffic_wrong += !is_value(key, value, len);
	return value + len + 2;
}

static const char *
read_memcached(const char *at, const char *end, int64_t key)
{
	int64_t count = options.mode == MGET ? options.keys_a_mget : 1;
	uint64_t wrong_before = traffic_wrong;

	for (int64_t i = 0; i < count && at != NULL; i++)
		at = read_memcached_value(at, end, (key + i) % options.keys);
	if (at == NULL || end - at < 5) { /* "END\r\n" */
		traffic_wrong = wrong_before;
		return NULL;
	}
	return at + 5;
}

static const char *
read_answer(const char *at, const char *end, int64_t key)
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
	/* All values are equally long: a long answer is not read anew with each piece of it. */
	if (end - at < mget_bytes)
		return NULL;
	if (answers % (uint64_t)options.check_every != 0)
		return at + mget_bytes;
	if (!read_line(at, end, &count, &after))
		return NULL;
	for (int i = 0; i < options.keys_a_mget && after != NULL; i++)
		after = read_bulk(after, end, (key + i) % options.keys);
	if (after == NULL) /* shorter than it must be */
		traffic_wrong++, after = at + mget_bytes;
	return after;
}

const char *
traffic_read_answer(const char *at, const char *end, int64_t key)
{
	const char *after = read_answer(at, end, key);

	answers += after != NULL;
	return after;
}

size_t
traffic_unseen_bytes(void)
{
	bool is_unseen = options.mode == MGET && !options.is_memcached &&
	    answers % (uint64_t)options.check_every != 0;

	return is_unseen ? (size_t)mget_bytes : 0;
}

void
traffic_skip_answer(void)
{
	answers++;
}

int64_t
traffic_next_key(void)
{
	return next_key;
}
