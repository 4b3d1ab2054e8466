/* CLIENT LIST and CLIENT INFO. See client_command.h. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "front/client_command.h"
#include "front/client_filter.h"
#include "front/client_inside.h"
#include "front/roll_call.h"
#include "wire/reply.h"

/* A client's line. */
struct entry {
	int64_t id;
	size_t at, len; /* in list->lines */
};

struct list {
	struct roll_call call;
	struct client_filter filter;
	struct buf lines;
	struct entry *entries;
	size_t count, room;
	int64_t now_ms;
};

static void
add(struct list *list, const struct client_facts *facts)
{
	size_t at = buf_len(&list->lines);

	if (!client_filter_takes(&list->filter, facts))
		return;
	if (list->count == list->room) {
		list->room = list->room > 0 ? list->room * 2 : 16;
		list->entries = alloc_again(list->entries, list->room * sizeof(*list->entries));
	}
	client_facts_write(facts, &list->lines);
	list->entries[list->count++] = (struct entry){ facts->id, at, buf_len(&list->lines) - at };
}

static bool
visit(struct roll_call *call, struct front *front)
{
	struct list *list = (struct list *)call;
	struct client_facts facts;

	for (struct client *client = front->clients; client != NULL; client = client->next) {
		if (client->session.id == call->asker_id)
			continue; /* as it was when it asked */
		client_facts_gather(client, list->now_ms, &facts);
		add(list, &facts);
	}
	return true;
}

static int
compare(const void *a, const void *b)
{
	int64_t left = ((const struct entry *)a)->id, right = ((const struct entry *)b)->id;

	return (left > right) - (left < right);
}

static void
copy(const struct list *list, const struct entry *entry, struct buf *text)
{
	if (entry != NULL)
		buf_append(text, buf_slice(&list->lines).at + entry->at, entry->len);
}

/* By age, as Redis lists them; ids in the order in which they were asked for. */
static void
write_lines(struct list *list, struct buf *text)
{
	if (list->count == 0)
		return;
	qsort(list->entries, list->count, sizeof(*list->entries), compare);
	for (size_t i = 0; i < list->filter.id_count; i++) {
		struct entry wanted = { list->filter.ids[i], 0, 0 };
		copy(list, bsearch(&wanted, list->entries, list->count, sizeof(wanted), compare),
		    text);
	}
	for (size_t i = 0; list->filter.ids == NULL && i < list->count; i++)
		copy(list, &list->entries[i], text);
}

static void
end(struct roll_call *call, bool is_home)
{
	struct list *list = (struct list *)call;
	struct buf text = BUF_EMPTY;

	(void)is_home;
	write_lines(list, &text);
	reply_verbatim(slot_out(call->slot), slot_resp(call->slot), buf_slice(&text));
	slot_done(call->slot);
	buf_free(&text);
	buf_free(&list->lines);
	client_filter_free(&list->filter);
	free(list->entries);
	free(list);
}

void
client_list(struct client *client, const struct request_parser *parser, struct buf *out)
{
	struct list *list = alloc_zero(sizeof(*list));
	struct client_facts facts;

	if (!client_filter_of_list(&list->filter, parser->argv, parser->argc, out)) {
		client_filter_free(&list->filter);
		free(list);
		return;
	}
	list->call.visit = visit;
	list->call.end = end;
	list->now_ms = clock_mono_ms();
	client_facts_of_asker(client, parser, list->now_ms, &facts);
	add(list, &facts);
	roll_call_start(&list->call, client);
}

void
client_info(struct client *client, const struct request_parser *parser, struct buf *out)
{
	struct client_facts facts;
	struct buf line = BUF_EMPTY;

	client_facts_of_asker(client, parser, clock_mono_ms(), &facts);
	client_facts_write(&facts, &line);
	reply_verbatim(out, client_session(client)->resp, buf_slice(&line));
	buf_free(&line);
}
