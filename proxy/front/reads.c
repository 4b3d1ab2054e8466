/* See reads.h. */
#include "front/reads.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/resp.h"
#include "front/client_inside.h"
#include "front/hits.h"
#include "front/limit_gate.h"
#include "wire/reply.h"

/* ---- GET ---- */

static void
write_string(struct buf *out, int resp, const struct answer *answer)
{
	switch (answer->kind) {
	case ANSWER_STRING:
		reply_bulk(out, blob_slice(answer->bytes));
		break;
	case ANSWER_ERROR:
		buf_append_slice(out, blob_slice(answer->bytes));
		break;
	case ANSWER_NIL:
	case ANSWER_HASH: /* not asked for */
		reply_null(out, resp);
		break;
	}
}

static void
on_string(void *arg, struct answer *answer)
{
	write_string(slot_draft(arg), slot_resp(arg), answer);
	answer_release(answer);
	slot_reply_draft(arg);
}

void
reads_question(struct client *client, struct slice key, struct question *question)
{
	const struct ladder_context *ladder = front_ladder(client_front(client));

	*question = (struct question){ .key = key, .link = client_link(client) };
	question->map = maps_find(ladder->rules->maps, key, &question->id);
	question->is_hash = question->map != NULL && question->map->settings->type == MAP_HASH;
}

/* A slot is made only when memory cannot answer: hits allocate nothing. */
static void
ask_string(struct client *client, const struct question *question)
{
	struct ladder_context *ladder = front_ladder(client_front(client));
	struct answer answer;

	if (ladder_try_memory(ladder, question, &answer)) {
		write_string(client_reply(client), client_session(client)->resp, &answer);
		answer_release(&answer);
		return;
	}
	struct slot *slot = slot_new(client);
	if (ladder_ask_backends(ladder, question, &answer, on_string, slot))
		on_string(slot, &answer);
}

static bool
handle_get(struct client *client, const struct request_parser *parser)
{
	struct question question;

	if (parser->argc != 2)
		return false;
	reads_question(client, parser->argv[1], &question);
	if (question.is_hash)
		return false; /* Redis says WRONGTYPE, or has it as the app left it */
	if (limit_gate_refuses_key(client, question.map, question.id, cache_hash(question.key)))
		return true;
	ask_string(client, &question);
	return true;
}

/* ---- MGET ---- */

/*
 *   held   [*5 k1 k2    k4    ]   what memory has said
 *   parts             k3    k5    what it had to ask for
 */
struct many {
	struct slot *slot;
	struct buf held;
	size_t count, waiting;
	struct many_part {
		struct many *many;
		size_t at; /* in held */
		struct answer answer;
	} parts[];
};

static void
write_many(struct many *many, struct buf *out)
{
	struct slice held = buf_slice(&many->held);
	size_t at = 0;

	/* Nobody but Redis has the other keys: without one the reply is a lie. */
	for (size_t i = 0; i < many->count; i++) {
		const struct answer *answer = &many->parts[i].answer;
		if (answer->kind == ANSWER_ERROR && answer->rung == RUNG_ERROR) {
			buf_append_slice(out, blob_slice(answer->bytes));
			return;
		}
	}
	for (size_t i = 0; i < many->count; i++) {
		const struct many_part *part = &many->parts[i];
		buf_append(out, held.at + at, part->at - at);
		at = part->at;
		if (part->answer.kind == ANSWER_ERROR) /* another type: MGET says nil */
			reply_null(out, slot_resp(many->slot));
		else
			write_string(out, slot_resp(many->slot), &part->answer);
	}
	buf_append(out, held.at + at, held.len - at);
}

static void
finish_many(struct many *many)
{
	write_many(many, slot_out(many->slot));
	for (size_t i = 0; i < many->count; i++)
		answer_release(&many->parts[i].answer);
	buf_free(&many->held);
	slot_done(many->slot);
	free(many);
}

static void
on_part(void *arg, struct answer *answer)
{
	struct many_part *part = arg;

	part->answer = *answer;
	if (--part->many->waiting == 0)
		finish_many(part->many);
}

static struct many *
many_new(struct client *client, struct slice held, size_t count)
{
	struct many *many = alloc_zero(sizeof(*many) + count * sizeof(struct many_part));

	many->slot = slot_new(client);
	many->count = count;
	many->waiting = count + 1; /* one for ourselves: not done before all are asked */
	buf_append_slice(&many->held, held);
	return many;
}

static void
ask_many(struct client *client, const struct slice *keys, const struct hits_gap *gaps, bool is_many,
    struct many *many)
{
	struct ladder_context *ladder = front_ladder(client_front(client));

	ladder_begin_many(ladder);
	for (size_t i = 0; i < many->count; i++) {
		struct many_part *part = &many->parts[i];
		struct question question;
		part->many = many;
		part->at = gaps[i].at;
		reads_question(client, keys[gaps[i].index], &question);
		question.is_many = is_many;
		if (ladder_ask(ladder, &question, &part->answer, on_part, part))
			many->waiting--;
	}
	ladder_end_many(ladder);
	if (--many->waiting == 0)
		finish_many(many);
}

static bool
handle_mget(struct client *client, const struct request_parser *parser)
{
	const struct slice *keys = parser->argv + 1;
	size_t count = parser->argc - 1;
	struct buf gaps = BUF_EMPTY;

	if (count == 0)
		return false;
	if (limit_gate_refuses_keys(client, keys, count))
		return true;
	struct buf *out = client_reply(client);
	size_t start = buf_len(out);
	size_t missing = hits_take_many(client, keys, count, out, &gaps);
	if (missing == 0)
		return true;
	struct slice held = buf_slice(out);
	struct many *many =
	    many_new(client, slice_make(held.at + start, held.len - start), missing);
	out->end = out->start + start; /* as if nothing had been */
	ask_many(client, keys, (const struct hits_gap *)(void *)gaps.at, count > 1, many);
	buf_free(&gaps);
	return true;
}

/* ---- a mapped hash ---- */

struct hash_command;

struct hash_read {
	struct slot *slot;
	const struct hash_command *command;
	size_t field_count;
	struct slice *fields; /* into bytes, behind themselves */
	_Alignas(struct slice) char bytes[];
};

/* Takes the next bulk string off `rest`. */
static bool
next_bulk(struct slice *rest, struct slice *bytes)
{
	char type;
	int64_t len;
	size_t header;

	if (rest->len == 0 || !resp_header(*rest, &type, &len, &header) || len < 0)
		return false;
	*bytes = slice_make(rest->at + header, (size_t)len);
	*rest = slice_make(rest->at + header + len + 2, rest->len - header - (size_t)len - 2);
	return true;
}

static bool
find_field(struct slice hash, struct slice name, struct slice *value)
{
	struct slice field;

	while (next_bulk(&hash, &field) && next_bulk(&hash, value)) {
		if (slice_equal(field, name))
			return true;
	}
	return false;
}

static size_t
count_fields(struct slice hash)
{
	struct slice field, value;
	size_t count = 0;

	while (next_bulk(&hash, &field) && next_bulk(&hash, &value))
		count++;
	return count;
}

static void
write_field(struct buf *out, int resp, struct slice hash, struct slice name)
{
	struct slice value;

	if (find_field(hash, name, &value))
		reply_bulk(out, value);
	else
		reply_null(out, resp);
}

static void
write_hget(struct buf *out, int resp, struct slice hash, const struct hash_read *read)
{
	write_field(out, resp, hash, read->fields[0]);
}

static void
write_hmget(struct buf *out, int resp, struct slice hash, const struct hash_read *read)
{
	reply_array(out, read->field_count);
	for (size_t i = 0; i < read->field_count; i++)
		write_field(out, resp, hash, read->fields[i]);
}

void
reads_write_hash(struct buf *out, int resp, struct slice hash)
{
	reply_map(out, resp, count_fields(hash));
	buf_append_slice(out, hash);
}

static void
write_hgetall(struct buf *out, int resp, struct slice hash, const struct hash_read *read)
{
	(void)read;
	reads_write_hash(out, resp, hash);
}

static void
write_halves(struct buf *out, struct slice hash, bool is_values)
{
	struct slice field, value;

	reply_array(out, count_fields(hash));
	while (next_bulk(&hash, &field) && next_bulk(&hash, &value))
		reply_bulk(out, is_values ? value : field);
}

static void
write_hkeys(struct buf *out, int resp, struct slice hash, const struct hash_read *read)
{
	(void)resp, (void)read;
	write_halves(out, hash, false);
}

static void
write_hvals(struct buf *out, int resp, struct slice hash, const struct hash_read *read)
{
	(void)resp, (void)read;
	write_halves(out, hash, true);
}

static void
write_hlen(struct buf *out, int resp, struct slice hash, const struct hash_read *read)
{
	(void)resp, (void)read;
	reply_integer(out, (int64_t)count_fields(hash));
}

static void
write_hexists(struct buf *out, int resp, struct slice hash, const struct hash_read *read)
{
	struct slice value;

	(void)resp;
	reply_integer(out, find_field(hash, read->fields[0], &value));
}

static void
write_hstrlen(struct buf *out, int resp, struct slice hash, const struct hash_read *read)
{
	struct slice value;

	(void)resp;
	reply_integer(out, find_field(hash, read->fields[0], &value) ? (int64_t)value.len : 0);
}

static const struct hash_command {
	const char *name;
	size_t min_argc, max_argc;
	void (*write)(struct buf *out, int resp, struct slice hash, const struct hash_read *read);
} hash_commands[] = {
	{ "hget", 3, 3, write_hget },
	{ "hmget", 3, SIZE_MAX, write_hmget },
	{ "hgetall", 2, 2, write_hgetall },
	{ "hkeys", 2, 2, write_hkeys },
	{ "hvals", 2, 2, write_hvals },
	{ "hlen", 2, 2, write_hlen },
	{ "hexists", 3, 3, write_hexists },
	{ "hstrlen", 3, 3, write_hstrlen },
};

static void
on_hash(void *arg, struct answer *answer)
{
	struct hash_read *read = arg;
	struct buf *out = slot_out(read->slot);

	if (answer->kind == ANSWER_ERROR)
		buf_append_slice(out, blob_slice(answer->bytes));
	else /* what is not there is an empty hash */
		read->command->write(out, slot_resp(read->slot),
		    answer->kind == ANSWER_HASH ? blob_slice(answer->bytes) : SLICE_NONE, read);
	answer_release(answer);
	slot_done(read->slot);
	free(read);
}

static struct hash_read *
hash_read_new(const struct hash_command *command, const struct slice *fields, size_t count)
{
	size_t len = 0;

	for (size_t i = 0; i < count; i++)
		len += fields[i].len;
	struct hash_read *read = alloc_zero(sizeof(*read) + count * sizeof(struct slice) + len);
	char *at = read->bytes + count * sizeof(struct slice);
	read->command = command;
	read->field_count = count;
	read->fields = (struct slice *)(void *)read->bytes;
	for (size_t i = 0; i < count; i++) {
		memcpy(at, fields[i].at, fields[i].len);
		read->fields[i] = slice_make(at, fields[i].len);
		at += fields[i].len;
	}
	return read;
}

static bool
handle_hash(struct client *client, const struct request_parser *parser)
{
	struct ladder_context *ladder = front_ladder(client_front(client));
	struct question question;
	struct answer answer;

	for (size_t i = 0; i < sizeof(hash_commands) / sizeof(hash_commands[0]); i++) {
		const struct hash_command *command = &hash_commands[i];
		if (!slice_equal_nocase(parser->argv[0], slice_of(command->name)))
			continue;
		if (parser->argc < command->min_argc || parser->argc > command->max_argc)
			return false;
		reads_question(client, parser->argv[1], &question);
		if (!question.is_hash)
			return false;
		if (limit_gate_refuses_key(client, question.map, question.id,
			cache_hash(question.key)))
			return true;
		struct hash_read *read = hash_read_new(command, parser->argv + 2, parser->argc - 2);
		read->slot = slot_new(client);
		if (ladder_ask(ladder, &question, &answer, on_hash, read))
			on_hash(read, &answer);
		return true;
	}
	return false;
}

bool
reads_handle(struct client *client, const struct request_parser *parser)
{
	struct slice name = parser->argv[0];

	if (name.len == 3 && slice_equal_nocase(name, SLICE("GET")))
		return handle_get(client, parser);
	if (name.len == 4 && slice_equal_nocase(name, SLICE("MGET")))
		return handle_mget(client, parser);
	if (parser->argc >= 2 && (name.at[0] == 'h' || name.at[0] == 'H'))
		return handle_hash(client, parser);
	return false;
}
