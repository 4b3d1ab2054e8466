/* CLIENT KILL. See client_command.h. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "front/client_command.h"
#include "front/client_filter.h"
#include "front/client_inside.h"
#include "front/roll_call.h"
#include "wire/reply.h"

struct killing {
	struct roll_call call;
	struct client_filter filter;
	int64_t now_ms, killed;
};

static bool
visit(struct roll_call *call, struct front *front)
{
	struct killing *killing = (struct killing *)call;
	struct client_facts facts;

	for (struct client *client = front->clients, *next; client != NULL; client = next) {
		next = client->next;
		if (client->session.id == call->asker_id)
			continue; /* see below */
		client_facts_gather(client, killing->now_ms, &facts);
		if (!client_filter_takes(&killing->filter, &facts))
			continue;
		client_kill(client);
		killing->killed++;
	}
	return true;
}

static void
end(struct roll_call *call, bool is_home)
{
	struct killing *killing = (struct killing *)call;
	struct buf *out = slot_out(call->slot);

	(void)is_home;
	if (!killing->filter.is_old_form)
		reply_integer(out, killing->killed);
	else if (killing->killed > 0)
		reply_simple(out, "OK");
	else
		reply_error(out, "ERR No such client");
	slot_done(call->slot);
	client_filter_free(&killing->filter);
	free(killing);
}

/* Who kills itself is answered first, and asks nothing more. */
static bool
is_suicide(struct client *client, const struct request_parser *parser,
    const struct killing *killing)
{
	struct client_facts facts;

	if (killing->filter.skips_asker)
		return false;
	client_facts_of_asker(client, parser, killing->now_ms, &facts);
	return client_filter_takes(&killing->filter, &facts);
}

void
client_kill_some(struct client *client, const struct request_parser *parser, struct buf *out)
{
	struct killing *killing = alloc_zero(sizeof(*killing));

	if (!client_filter_of_kill(&killing->filter, parser->argv, parser->argc, out)) {
		client_filter_free(&killing->filter);
		free(killing);
		return;
	}
	killing->call.visit = visit;
	killing->call.end = end;
	killing->now_ms = clock_mono_ms();
	killing->killed = is_suicide(client, parser, killing);
	if (killing->killed > 0)
		client_finish(client);
	roll_call_start(&killing->call, client);
}
