/* See write.h. */
#include "ladder/write.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "ladder/copy_write.h"
#include "ladder/expiry.h"
#include "ladder/forward.h"
#include "ladder/keeper.h"

struct errand_key {
	struct slice key;
	uint64_t hash;
};

struct errand {
	struct forward forward;
	struct ladder_context *context;
	enum errand_kind { ERRAND_READ, ERRAND_WRITE, ERRAND_FLUSH, ERRAND_OTHER } kind;
	bool is_hasty;
	struct link_choice link;
	bool can_do_without; /* copy_write_can(): Redis's answer is not needed */
	bool is_held;        /* acknowledged without an answer; the journal waits for it */
	struct key_expiry expiry;
	ladder_replied_fn replied;
	void *arg;
	size_t size; /* of all this */
	size_t key_count, argc;
	struct errand_key *keys;             /* that it writes */
	struct slice *argv;                  /* its words, where they may be needed */
	_Alignas(struct slice) char bytes[]; /* keys, argv, then what they point to */
};

static int64_t
wait_ms(const struct errand *errand)
{
	const struct settings *settings = errand->context->rules->settings;

	return errand->can_do_without || errand->is_hasty ? settings->redis.budget_ms
							  : settings->redis.timeout_ms;
}

/* ---- around the command ---- */

/* Behind these a fill that is still under way finds the key, and leaves it. */
static bool
leaves_key(struct slice name)
{
	static const struct slice names[] = {
		SLICE_INIT("set"),
		SLICE_INIT("setex"),
		SLICE_INIT("psetex"),
		SLICE_INIT("mset"),
		SLICE_INIT("getset"),
		SLICE_INIT("append"),
		SLICE_INIT("setrange"),
		SLICE_INIT("incr"),
		SLICE_INIT("incrby"),
		SLICE_INIT("incrbyfloat"),
		SLICE_INIT("decr"),
		SLICE_INIT("decrby"),
		SLICE_INIT("hset"),
		SLICE_INIT("hmset"),
		SLICE_INIT("hsetnx"),
		SLICE_INIT("hincrby"),
		SLICE_INIT("hincrbyfloat"),
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (slice_equal_nocase(name, names[i]))
			return true;
	}
	return false;
}

static void
begin(struct errand *errand, struct slice name)
{
	struct backends *backends = errand->context->backends;

	for (size_t i = 0; i < errand->key_count; i++)
		cache_write_begin(backends->cache, errand->keys[i].key, errand->keys[i].hash);
	if (errand->key_count > 0 && !journal_is_empty(backends->journal) && !leaves_key(name)) {
		uintptr_t way = links_way(errand->context->links, errand->link);
		for (size_t i = 0; i < errand->key_count; i++)
			journal_note_write(backends->journal, errand->keys[i].key, way);
	}
	counter_add(&errand->context->metrics->invalidated_write, (int64_t)errand->key_count);
	if (errand->kind == ERRAND_FLUSH)
		counter_add(&errand->context->metrics->invalidated_flush,
		    cache_drop_all(backends->cache));
}

static void
end(struct errand *errand)
{
	struct backends *backends = errand->context->backends;

	for (size_t i = 0; i < errand->key_count; i++) {
		const struct errand_key *key = &errand->keys[i];
		if (errand->is_held) {
			/* Now that it can no longer land, the journal may go on. */
			cache_write_end_late(backends->cache, key->hash);
			journal_release(backends->journal, key->key);
		} else {
			cache_write_end(backends->cache, key->key, key->hash);
		}
		keeper_publish(backends->keeper, key->key);
	}
	if (errand->is_held)
		keeper_journal_changed(backends->keeper);
	if (errand->kind == ERRAND_FLUSH) {
		cache_drop_all(backends->cache);
		keeper_publish(backends->keeper, SLICE_NONE);
	}
}

/* ---- without Redis ---- */

static const char *
loss_text(const struct errand *errand, enum forward_event event)
{
	if (event == FORWARD_UNSENT)
		return NULL;
	if (event == FORWARD_LOST)
		return errand->kind == ERRAND_READ
		    ? "the connection broke before the answer came"
		    : "the connection broke; the command may or may not have run";
	return errand->kind == ERRAND_READ
	    ? "no answer from redis in time"
	    : "no answer from redis in time; the command may or may not have run";
}

/* What is said when Redis did not; by memory and journal where they can. */
static enum rung
reply_without_redis(struct errand *errand, enum forward_event event, struct buf *out)
{
	struct backends *backends = errand->context->backends;
	const char *loss = loss_text(errand, event);
	char reason[128], what[256];

	if (!errand->can_do_without) {
		backends_reply_down(backends, loss, out);
		return RUNG_ERROR;
	}
	if (copy_write_apply(errand->context, errand->argv, errand->argc, out))
		return RUNG_MEMORY;
	journal_why_not(backends->journal, reason, sizeof(reason));
	snprintf(what, sizeof(what), "journal: %s%s%s", reason, loss != NULL ? "; " : "",
	    loss != NULL ? loss : "");
	backends_reply_down(backends, what, out);
	return RUNG_ERROR;
}

/* ---- events ---- */

static void
count(const struct errand *errand, enum rung rung, int64_t took_us)
{
	counter_add(&errand->context->metrics->answers[rung], 1);
	histogram_add(&errand->context->metrics->seconds[rung], took_us);
}

static void
tell(struct errand *errand, enum rung rung, struct slice reply)
{
	count(errand, rung, errand->forward.ended_us - errand->forward.sent_us);
	errand->replied(errand->arg, rung, reply);
}

static void
errand_free(struct errand *errand)
{
	pool_give(errand->context->pool, errand, errand->size);
}

static void
on_overdue(struct errand *errand)
{
	struct buf reply = BUF_EMPTY;

	/* Held before it is acknowledged: it may still land in Redis. */
	for (size_t i = 0; i < errand->key_count && errand->can_do_without; i++)
		journal_hold(errand->context->backends->journal, errand->keys[i].key,
		    links_way(errand->context->links, errand->link));
	errand->is_held = errand->can_do_without;
	enum rung rung = reply_without_redis(errand, FORWARD_OVERDUE, &reply);
	tell(errand, rung, buf_slice(&reply));
	buf_free(&reply);
}

static void
on_event(struct forward *forward, enum forward_event event, struct slice answer)
{
	struct errand *errand =
	    (struct errand *)((char *)forward - offsetof(struct errand, forward));
	struct buf reply = BUF_EMPTY;

	if (event == FORWARD_OVERDUE) {
		on_overdue(errand);
		return;
	}
	/* Before a read may fill again. What was lost may have run, too. */
	if (errand->expiry.kind != EXPIRY_NONE)
		expiry_note(errand->context->backends->cache, &errand->expiry, clock_mono_ms());
	end(errand);
	if (event == FORWARD_ANSWERED || (event == FORWARD_SICK && !errand->can_do_without)) {
		tell(errand, RUNG_REDIS, answer);
	} else if (event != FORWARD_SETTLED) {
		enum rung rung = reply_without_redis(errand, event, &reply);
		tell(errand, rung, buf_slice(&reply));
	}
	buf_free(&reply);
	errand_free(errand);
}

/* ---- making one ---- */

#define FOUND_FEW 8

struct key_list {
	struct slice *at;
	size_t count, room; /* FOUND_FEW: not to be freed */
};

static void
add_key(struct slice key, void *arg)
{
	struct key_list *list = arg;

	if (list->count == list->room) {
		struct slice *at = alloc(2 * list->room * sizeof(*at));
		memcpy(at, list->at, list->count * sizeof(*at));
		if (list->room > FOUND_FEW)
			free(list->at);
		list->at = at;
		list->room *= 2;
	}
	list->at[list->count++] = key;
}

static struct slice
copy_word(struct slice from, char **at)
{
	struct slice copy = slice_make(*at, from.len);

	if (from.len > 0)
		memcpy(*at, from.at, from.len);
	*at += from.len;
	return copy;
}

static size_t
total_len(const struct slice *words, size_t count)
{
	size_t len = 0;

	for (size_t i = 0; i < count; i++)
		len += words[i].len;
	return len;
}

static struct key_expiry
find_expiry(const struct write_command *command, enum errand_kind kind)
{
	if (kind != ERRAND_WRITE || !expiry_is_set(command->argv, command->argc))
		return (struct key_expiry){ .kind = EXPIRY_NONE };
	return expiry_of(command->argv, command->argc, clock_mono_ms(), clock_wall_ms());
}

/* Copies the keys, and the words where we may have to carry it out ourselves. */
static struct errand *
errand_new(struct ladder_context *context, const struct write_command *command,
    enum errand_kind kind)
{
	struct slice few[FOUND_FEW];
	struct key_list keys = { .at = few, .room = FOUND_FEW };
	bool can_do_without = kind == ERRAND_WRITE && command->info != NULL &&
	    copy_write_can(context->rules, command->argv, command->argc);
	size_t argc = can_do_without ? command->argc : 0;
	struct key_expiry expiry = find_expiry(command, kind);

	if (kind == ERRAND_WRITE)
		command_each_written_key(command->info, command->argv, command->argc, add_key,
		    &keys);
	size_t tables = keys.count * sizeof(struct errand_key) + argc * sizeof(struct slice);
	size_t size = sizeof(struct errand) + tables + total_len(keys.at, keys.count) +
	    total_len(command->argv, argc) + expiry.key.len + expiry.from.len;
	struct errand *errand = pool_take(context->pool, size);
	*errand = (struct errand){
		.context = context,
		.kind = kind,
		.is_hasty = command->is_hasty,
		.link = command->link,
		.can_do_without = can_do_without,
		.expiry = expiry,
		.size = size,
		.key_count = keys.count,
		.argc = argc,
		.keys = (struct errand_key *)(void *)errand->bytes,
	};
	errand->argv = (struct slice *)(void *)(errand->keys + keys.count);
	char *at = errand->bytes + tables;
	for (size_t i = 0; i < keys.count; i++)
		errand->keys[i] =
		    (struct errand_key){ copy_word(keys.at[i], &at), cache_hash(keys.at[i]) };
	for (size_t i = 0; i < argc; i++)
		errand->argv[i] = copy_word(command->argv[i], &at);
	errand->expiry.key = copy_word(expiry.key, &at);
	errand->expiry.from = copy_word(expiry.from, &at);
	if (keys.room > FOUND_FEW)
		free(keys.at);
	return errand;
}

static bool
has_dirty_key(const struct errand *errand)
{
	for (size_t i = 0; i < errand->key_count; i++) {
		if (journal_has(errand->context->backends->journal, errand->keys[i].key))
			return true;
	}
	return false;
}

/* Answers it without having sent it; frees it. */
static bool
answer_unsent(struct errand *errand, const char *refusal, struct buf *out, enum rung *rung)
{
	if (refusal == NULL) {
		*rung = reply_without_redis(errand, FORWARD_UNSENT, out);
	} else {
		backends_reply_down(errand->context->backends, refusal, out);
		*rung = RUNG_ERROR;
	}
	count(errand, *rung, 0);
	errand_free(errand);
	return true;
}

static bool
run(struct ladder_context *context, const struct write_command *command, enum errand_kind kind,
    struct buf *out, enum rung *rung, ladder_replied_fn replied, void *arg)
{
	struct errand *errand = errand_new(context, command, kind);

	errand->replied = replied;
	errand->arg = arg;
	errand->forward.on_event = on_event;
	/* What nobody will carry out drops nothing. */
	if (!errand->can_do_without && !backends_redis_allows(context->backends))
		return answer_unsent(errand, NULL, out, rung);
	/* What it would answer or build on is older than a write here. */
	if (!errand->can_do_without && has_dirty_key(errand))
		return answer_unsent(errand, "the copy in redis is older than a write here", out,
		    rung);
	begin(errand, command->argv[0]);
	if (forward_send(context, &errand->forward, command->link, command->raw, wait_ms(errand)))
		return false;
	end(errand);
	return answer_unsent(errand, NULL, out, rung);
}

bool
ladder_write(struct ladder_context *context, const struct write_command *command, struct buf *out,
    enum rung *rung, ladder_replied_fn replied, void *arg)
{
	return run(context, command, ERRAND_WRITE, out, rung, replied, arg);
}

bool
ladder_forward(struct ladder_context *context, const struct write_command *command, struct buf *out,
    enum rung *rung, ladder_replied_fn replied, void *arg)
{
	enum command_class class = command->info != NULL ? command->info->class : COMMAND_FORWARD;
	enum errand_kind kind = class == COMMAND_FLUSH ? ERRAND_FLUSH
	    : class == COMMAND_READ || class == COMMAND_READ_KEY || class == COMMAND_READ_MANY
	    ? ERRAND_READ
	    : ERRAND_OTHER;

	return run(context, command, kind, out, rung, replied, arg);
}
