/* What clients send: bytes to commands, batch by batch. */
#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "front/client_inside.h"
#include "front/hits.h"
#include "front/request.h"
#include "wire/commands.h"
#include "wire/reply.h"

#define LOG_EVERY_MS 10000

#define CLOCKED_WORDS 64 /* a command of so many is worth a look at the clock, */
#define CLOCKED_HITS 64  /* a batch of so many is, too, */
#define CLOCKED_EVERY 16 /* and else one in so many */

/* ---- receiving ---- */

/* SKIP is about the next command, be it an empty one. */
static void
pass_skip(struct client_session *session)
{
	if (session->replies == REPLIES_SKIP)
		session->replies = REPLIES_ON;
	else if (session->replies == REPLIES_SKIP_NEXT)
		session->replies = REPLIES_SKIP;
}

/* False: not before everything that came before it has been answered. */
static bool
handle_command(struct client *client, const struct request_parser *parser)
{
	const struct command_info *info = command_find(parser->argv, parser->argc);

	if (!request_handle(client, parser, info))
		return false;
	/* It may have taken long (MGET; SIDECAR is in no table), and a hit follow. */
	if (info == NULL || parser->argc > CLOCKED_WORDS)
		client->front->now_us = clock_mono_us();
	client->session.last = info; /* for CLIENT LIST */
	pass_skip(&client->session);
	/* A reply that was known at once, behind one that is not. */
	if (client->last != NULL && client->last->is_done)
		slot_account(client->last);
	return true;
}

/* What waits in the shared buffer is on its way out, too. */
static void
pause_who_owes_too_much(struct client *client)
{
	const struct front *front = client->front;
	bool has_others =
	    client->last != NULL || client->redis != NULL || client->unfinished != NULL;

	if ((has_others && client_owes_too_much(client)) ||
	    front_out_len(front) > (size_t)client_settings(client)->listen.output_limit) {
		if (client->state == CLIENT_READING)
			client_enter(client, CLIENT_PAUSED);
	}
}

/* Its next command has to wait for all before it. */
static void
wait_for_quiet(struct client *client)
{
	client->waits_for_quiet = true;
	client_enter(client, CLIENT_PAUSED);
}

/* What it sends is no command. Not before what Redis still has to say to it. */
static void
hang_up_on(struct client *client, const char *error)
{
	if (client->redis != NULL && !client_is_quiet(client)) {
		wait_for_quiet(client);
		return;
	}
	reply_error(client_reply(client), "%s", error);
	client_finish(client);
}

/* Handles whole commands in `bytes`; returns how many bytes they had. */
static size_t
handle_commands(struct client *client, struct slice bytes, struct request_progress *progress)
{
	struct front *front = client->front;
	const struct settings *settings = client_settings(client);
	size_t at = 0;

	while (client->state == CLIENT_READING && at < bytes.len) {
		struct slice left = { bytes.at + at, bytes.len - at };
		size_t taken = progress->at == 0 ? hits_take(client, left) : 0;
		if (taken > 0) {
			at += taken;
			pause_who_owes_too_much(client);
			continue;
		}
		struct request_limits limits = {
			.max_bytes = settings->listen.max_request,
			.max_args = settings->listen.max_args,
			.is_stranger = !client->session.is_authenticated,
		};
		enum request_parse parsed = request_parse(&front->parser, progress, &limits, left);
		if (parsed == REQUEST_PARTIAL)
			break;
		if (parsed == REQUEST_BROKEN) {
			hang_up_on(client, front->parser.error);
			break;
		}
		if (front->parser.argc == 0) {
			pass_skip(&client->session);
		} else if (!handle_command(client, &front->parser)) {
			wait_for_quiet(client);
			break;
		}
		at += front->parser.len;
		pause_who_owes_too_much(client);
	}
	return at;
}

/* Each hit took at most as long as its batch; the clock is asked behind large
 * ones and now and then, which tells how long a batch takes, and keeps the
 * time of a long turn from growing old: a copy's valid_until is at stake. */
void
front_count_batches(struct front *front, int64_t batches, int64_t hits)
{
	bool is_due = front->unlooked <= 0; /* the first one, too */

	front->turn_batches += batches;
	front->unlooked -= batches;
	if (hits >= CLOCKED_HITS || (is_due && batches > 0)) {
		int64_t now_us = clock_mono_us();
		front->batch_took_us = (now_us - front->turn_us) / front->turn_batches;
		front->turn_us = front->now_us = now_us;
		front->turn_batches = 0;
		front->unlooked = CLOCKED_EVERY - batches;
	}
	if (hits > 0)
		histogram_add_many(&front->metrics->ladder.seconds[RUNG_MEMORY],
		    front->batch_took_us, hits);
}

/* What has not been handled of `bytes` is kept, in its own buffer. */
static void
keep_rest(struct client *client, struct slice bytes, size_t handled, bool is_own,
    const struct request_progress *progress)
{
	struct unfinished *unfinished = client_unfinished(client);

	unfinished->progress = *progress;
	if (client->state >= CLIENT_FINISHING)
		buf_free(&unfinished->in); /* nobody will ask for the rest */
	else if (is_own)
		buf_take(&unfinished->in, handled);
	else
		buf_append(&unfinished->in, bytes.at + handled, bytes.len - handled);
}

/* Handles what it has sent before, or what is in the shared buffer (`fresh`). */
static void
handle_batch(struct client *client, struct slice fresh)
{
	struct front *front = client->front;
	int64_t hits_before = counter_get(&front->metrics->ladder.hits);
	bool is_own = client_in_len(client) > 0;
	struct slice bytes = is_own ? buf_slice(&client->unfinished->in) : fresh;
	struct request_progress progress = { 0, 0 };

	client->session.active_ds = (uint32_t)(front_now_ms(front) / 100);
	if (is_own)
		progress = client->unfinished->progress;
	front->handling = client;
	size_t handled = handle_commands(client, bytes, &progress);
	front->handling = NULL;
	if (is_own || handled < bytes.len)
		keep_rest(client, bytes, handled, is_own, &progress);
	front_count_batches(front, 1, counter_get(&front->metrics->ladder.hits) - hits_before);
	/* An end with a whole command before it has been handled; half a command
	 * will never be whole. */
	if (client->is_at_end && client->state == CLIENT_READING)
		client_finish(client);
	if (client_send_shared(client) && !client_is_at_rest(client))
		client_settle(client);
}

void
client_handle_received(struct client *client)
{
	handle_batch(client, SLICE_NONE);
}

void
client_handle_fresh(struct client *client, struct slice bytes)
{
	handle_batch(client, bytes);
}

/* -1: gone. Otherwise how many bytes came; 0 also for "none now". */
static ssize_t
receive(struct client *client, char *at, size_t size)
{
	ssize_t n = stream_recv(client->fd, client->tls, at, size);
	int error = errno;

	if (n == 0 || (client->tls != NULL && tls_stream_is_at_end(client->tls)))
		client->is_at_end = true;
	if (n < 0 && error != EAGAIN && error != EINTR)
		return -1;
	return n > 0 ? n : 0;
}

/* Not a word of what came goes into the log: it may have been meant for a
 * plain port. */
static void
log_refused(const struct client *client)
{
	static int64_t logged_ms;
	char address[PEER_TEXT];

	peer_text(&client->peer, address);
	if (log_throttle(&logged_ms, clock_mono_ms(), LOG_EVERY_MS))
		log_warn("client=%lld addr=%s event=tls_refused reason=\"%s\"",
		    (long long)client->session.id, address, tls_stream_fault(client->tls));
}

/* CLIENT_SECURING: `n` as receive() said. False: it is over. */
static bool
secure(struct client *client, ssize_t n)
{
	if (n < 0 && tls_stream_fault(client->tls)[0] != '\0')
		log_refused(client);
	if (n < 0 || (n == 0 && client->is_at_end))
		return false;
	if (tls_stream_is_secured(client->tls)) {
		deadlines_remove(client->front->ladder->deadlines, &client->unfinished->patience);
		client_enter(client, CLIENT_READING);
	}
	return true;
}

/* The usual: nothing is under way. */
static void
read_at_rest(struct client *client)
{
	struct front *front = client->front;
	/* Before it lies what others have sent in this turn. */
	char *at = front->in + front->lone_bytes;
	ssize_t n = socket_recv(client->fd, at, READ_BYTES);

	if (n > 0 && hits_take_lone(client, slice_make(at, (size_t)n)))
		return;
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		client_close(client);
		return;
	}
	client->is_at_end = n == 0;
	handle_batch(client, slice_make(at, n > 0 ? (size_t)n : 0));
}

static void
on_readable(struct client *client)
{
	struct front *front = client->front;
	bool has_rest = client_in_len(client) > 0;
	char *at = has_rest ? buf_reserve(&client->unfinished->in, READ_BYTES)
			    : front->in + front->lone_bytes;
	ssize_t n = receive(client, at, READ_BYTES);

	if ((client->state == CLIENT_SECURING && !secure(client, n)) || n < 0 ||
	    (client->state == CLIENT_LINGERING && client->is_at_end)) {
		client_close(client);
		return;
	}
	if (client->state != CLIENT_READING) {
		client_settle(client); /* lingering: what comes now is nobody's; or securing */
		return;
	}
	if (has_rest)
		buf_added(&client->unfinished->in, (size_t)n);
	handle_batch(client, slice_make(at, has_rest ? 0 : (size_t)n));
}

void
client_on_event(evutil_socket_t fd, short what, void *arg)
{
	struct client *client = arg;

	(void)fd;
	/* Writing first: it may free the client, and then nothing is read. */
	if (what == EV_READ && client_is_at_rest(client))
		read_at_rest(client);
	else if (what == EV_READ)
		on_readable(client);
	else if ((what & EV_CLOSED) != 0)
		client_close(client);
	else if ((what & EV_WRITE) != 0)
		client_flush(client);
}

bool
client_receive_all(struct client *client)
{
	size_t most = (size_t)client_settings(client)->listen.max_request;
	struct buf *in = &client_unfinished(client)->in;
	ssize_t n;

	do {
		n = receive(client, buf_reserve(in, READ_BYTES), READ_BYTES);
		if (client->state == CLIENT_SECURING && !secure(client, n))
			return false;
		if (n > 0)
			buf_added(in, (size_t)n);
		/* Decrypted, it is a little less than what was read. */
	} while ((n == READ_BYTES || (client->tls != NULL && n > 0)) && buf_len(in) < most);
	return n >= 0 && client->state != CLIENT_SECURING;
}
