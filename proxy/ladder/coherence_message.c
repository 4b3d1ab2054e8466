/* See coherence_message.h. */
#include "ladder/coherence_message.h"

#include "base/resp.h"

/* ---- prefixes ---- */

static bool
is_plain_prefix(struct slice pattern)
{
	for (size_t i = 0; i + 1 < pattern.len; i++) {
		if (memchr("*?[\\!", pattern.at[i], 5) != NULL)
			return false;
	}
	return pattern.len > 1 && pattern.at[pattern.len - 1] == '*';
}

/* Redis refuses prefixes of which one covers another. */
static bool
covers(const struct slice *prefixes, size_t count, struct slice prefix)
{
	for (size_t i = 0; i < count; i++) {
		if (slice_starts(prefix, prefixes[i]))
			return true;
	}
	return false;
}

static size_t
add_prefix(struct slice *prefixes, size_t count, struct slice prefix)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		if (!slice_starts(prefixes[i], prefix))
			prefixes[kept++] = prefixes[i];
	}
	prefixes[kept] = prefix;
	return kept + 1;
}

size_t
coherence_prefixes(struct slice keys, struct slice prefixes[COHERENCE_MAX_PREFIXES])
{
	size_t count = 0;

	for (size_t i = 0; i < keys.len;) {
		size_t end = i;
		while (end < keys.len && keys.at[end] != ' ' && keys.at[end] != '\t')
			end++;
		struct slice pattern = { keys.at + i, end - i };
		i = end + 1;
		if (pattern.len == 0 || pattern.at[0] == '!') /* left out here: filtered by reads */
			continue;
		if (!is_plain_prefix(pattern) || count == COHERENCE_MAX_PREFIXES)
			return 0;
		pattern.len--;
		if (!covers(prefixes, count, pattern))
			count = add_prefix(prefixes, count, pattern);
	}
	return count;
}

size_t
coherence_tracking_words(struct slice keys, struct slice argv[COHERENCE_TRACKING_WORDS])
{
	struct slice prefixes[COHERENCE_MAX_PREFIXES];
	size_t count = coherence_prefixes(keys, prefixes);

	argv[0] = SLICE("CLIENT");
	argv[1] = SLICE("TRACKING");
	argv[2] = SLICE("ON");
	argv[3] = SLICE("BCAST");
	for (size_t i = 0; i < count; i++) {
		argv[4 + 2 * i] = SLICE("PREFIX");
		argv[5 + 2 * i] = prefixes[i];
	}
	return 4 + 2 * count;
}

/* ---- messages ---- */

/* The value at the front of `rest`, taken off. */
static bool
next_value(struct slice *rest, struct slice *value)
{
	struct resp_scan scan;

	resp_scan_start(&scan);
	if (rest->len == 0 || resp_scan(&scan, *rest) != RESP_WHOLE)
		return false;
	*value = slice_make(rest->at, scan.at);
	*rest = slice_make(rest->at + scan.at, rest->len - scan.at);
	return true;
}

static struct slice
bulk_of(struct slice value)
{
	char type;
	int64_t len;
	size_t header;

	if (!resp_header(value, &type, &len, &header) || type != '$' || len < 0)
		return SLICE_NONE;
	return slice_make(value.at + header, (size_t)len);
}

static void
read_invalidation(struct slice value, struct coherence_message *message)
{
	char type;
	int64_t count;
	size_t header;

	if (!resp_header(value, &type, &count, &header))
		return;
	if (type == '*' && count >= 0) {
		message->kind = MESSAGE_INVALIDATE;
		message->keys = slice_make(value.at + header, value.len - header);
	} else {
		message->kind = MESSAGE_INVALIDATE_ALL;
	}
}

static void
read_published(struct slice text, struct coherence_message *message)
{
	const char *first = memchr(text.at, ' ', text.len);

	if (first == NULL)
		return;
	struct slice rest = { first + 1, text.len - (size_t)(first + 1 - text.at) };
	message->origin = slice_make(text.at, (size_t)(first - text.at));
	message->is_all = slice_starts(rest, SLICE("all "));
	if (message->is_all || slice_starts(rest, SLICE("keys "))) {
		message->kind = MESSAGE_PUBLISHED;
		if (!message->is_all)
			message->keys = slice_make(rest.at + 5, rest.len - 5);
	}
}

void
coherence_read(struct slice push, struct coherence_message *message)
{
	char type;
	int64_t count;
	size_t header;
	struct slice value, channel, word;

	*message = (struct coherence_message){ .kind = MESSAGE_OTHER };
	if (!resp_header(push, &type, &count, &header))
		return;
	struct slice rest = { push.at + header, push.len - header };
	if (!next_value(&rest, &value))
		return;
	word = bulk_of(value);
	if (slice_equal(word, SLICE("invalidate")) && next_value(&rest, &value)) {
		read_invalidation(value, message);
	} else if (slice_equal(word, SLICE("subscribe"))) {
		message->kind = MESSAGE_SUBSCRIBED;
	} else if (slice_equal(word, SLICE("message")) && next_value(&rest, &channel) &&
	    next_value(&rest, &value)) {
		read_published(bulk_of(value), message);
	}
}

void
coherence_append_key(struct buf *keys, struct slice key)
{
	resp_append_bulk(keys, key);
}

void
coherence_each_key(struct slice keys, void (*on_key)(struct slice key, void *arg), void *arg)
{
	struct slice value;

	while (next_value(&keys, &value)) {
		struct slice key = bulk_of(value);
		if (key.at != NULL)
			on_key(key, arg);
	}
}

void
coherence_each_value(struct slice keys, struct slice reply,
    void (*on_value)(struct slice key, struct slice value, void *arg), void *arg)
{
	char type;
	int64_t count;
	size_t header;
	struct slice key, value;

	if (!resp_header(reply, &type, &count, &header))
		return;
	if (type == '%') { /* HGETALL of the one key */
		if (next_value(&keys, &key))
			on_value(bulk_of(key), reply, arg);
		return;
	}
	reply = slice_make(reply.at + header, reply.len - header);
	while (type == '*' && next_value(&keys, &key) && next_value(&reply, &value))
		on_value(bulk_of(key), value, arg);
}

bool
coherence_is_same(struct slice reply, const struct cache_value *value)
{
	char type;
	int64_t number;
	size_t header;

	if (value->bytes == NULL || !resp_header(reply, &type, &number, &header))
		return false;
	if (value->kind == CACHE_STRING)
		return type == '$' && number >= 0 &&
		    slice_equal(blob_slice(value->bytes),
			slice_make(reply.at + header, (size_t)number));
	return value->kind == CACHE_HASH && (type == '%' || type == '*') &&
	    slice_equal(blob_slice(value->bytes),
		slice_make(reply.at + header, reply.len - header));
}
