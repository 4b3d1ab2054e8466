/* Whether a link is worth keeping: judged by its silence. */
#include "base/clock.h"
#include "upstream/redis_link_inside.h"

#define DEAF_CALLS 3
#define DEAF_MS 1000

static bool
is_deaf(const struct redis_link *link, int64_t now_us)
{
	return link->deaf_calls >= DEAF_CALLS && now_us - link->heard_us > DEAF_MS * 1000;
}

void
redis_link_overdue(struct redis_link *link, struct redis_call *call)
{
	if (call->is_overdue)
		return;
	call->is_overdue = true;
	redis_tally_failures(&link->tally, 1, FAILURE_TIMEOUT, "no answer within its budget");
	/* One link of several may hang where the others work: the breaker stays
	 * closed then, and whoever is on this link pays. */
	link->deaf_calls = link->heard_us < call->sent_us ? link->deaf_calls + 1 : 0;
	if (link->state == LINK_READY && is_deaf(link, clock_mono_us()))
		link_start_timer(&link->keepalive, 0);
}

static void
send_ping(struct redis_link *link, int64_t now_us)
{
	link->is_pinging = true;
	link->pinged_us = now_us;
	link->send_us = now_us;
	link_enqueue(link, SLICE("*1\r\n$4\r\nPING\r\n"), &link->ping);
	redis_link_flush(link);
}

/* Judges the connection by its silence. One timer, looked at when it ends:
 * traffic costs nothing here but the time it was heard. */
void
link_on_keepalive(evutil_socket_t fd, short what, void *arg)
{
	struct redis_link *link = arg;
	int64_t now_us = clock_mono_us();
	int64_t silent_ms = (now_us - link->heard_us) / 1000;

	(void)fd, (void)what;
	if (is_deaf(link, now_us)) {
		link_on_closed(link->conn, FAILURE_TIMEOUT, "no answer to anything", link);
	} else if (link->is_pinging && link->heard_us <= link->pinged_us) {
		link_on_closed(link->conn, FAILURE_TIMEOUT, "no answer to PING", link);
	} else if (link->is_pinging) { /* behind calls that are being answered */
		link->pinged_us = now_us;
		link_start_timer(&link->keepalive, link->options.connect_ms);
	} else if (silent_ms < link->options.keepalive_ms) {
		link_start_timer(&link->keepalive, link->options.keepalive_ms - silent_ms);
	} else {
		send_ping(link, now_us);
		link_start_timer(&link->keepalive, link->options.connect_ms);
	}
}
