/* See admin.h. */
#include "front/admin.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "front/exposition.h"
#include "front/history.h"
#include "front/page.h"
#include "front/status.h"
#include "ladder/warm.h"

#define MAX_BODY_BYTES 4096
#define MAX_HEADERS_BYTES 16384
#define TIMEOUT_S 10
#define PAUSE_MS 100       /* when descriptors have run out */
#define KEYS_EVERY_MS 5000 /* however many pages are open */

struct admin {
	struct evhttp *http;
	const struct census *census;
	struct history *history;
	struct buf keys; /* what /keys.json last said */
	int64_t keys_at_ms;
};

static void
answer(struct evhttp_request *request, int code, const char *type, struct slice body)
{
	struct evbuffer *out = evbuffer_new();

	evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", type);
	evhttp_add_header(evhttp_request_get_output_headers(request), "Cache-Control", "no-store");
	evbuffer_add(out, body.at, body.len);
	evhttp_send_reply(request, code, code == 200 ? "OK" : "Service Unavailable", out);
	evbuffer_free(out);
}

static void
on_metrics(struct evhttp_request *request, void *arg)
{
	const struct admin *admin = arg;
	struct buf text = BUF_EMPTY;

	exposition_write(admin->census, &text);
	answer(request, 200, "text/plain; version=0.0.4; charset=utf-8", buf_slice(&text));
	buf_free(&text);
}

/* The process works: it has just answered. */
static void
on_healthz(struct evhttp_request *request, void *arg)
{
	(void)arg;
	answer(request, 200, "text/plain", SLICE("ok\n"));
}

/* Backends being down does not make it unready: the ladder answers. */
static void
on_readyz(struct evhttp_request *request, void *arg)
{
	struct census *census = (struct census *)((struct admin *)arg)->census;

	if (atomic_load(&census->is_draining))
		answer(request, 503, "text/plain", SLICE("draining\n"));
	else if (!warm_is_settled(census->backends->warm))
		answer(request, 503, "text/plain", SLICE("warming up\n"));
	else
		answer(request, 200, "text/plain", SLICE("ready\n"));
}

static void
on_status(struct evhttp_request *request, void *arg)
{
	const struct admin *admin = arg;
	struct buf text = BUF_EMPTY;

	status_json(admin->census, &text);
	answer(request, 200, "application/json", buf_slice(&text));
	buf_free(&text);
}

static void
on_history(struct evhttp_request *request, void *arg)
{
	const struct admin *admin = arg;
	const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request));
	struct buf text = BUF_EMPTY;
	int64_t since = 0;

	if (query != NULL && strncmp(query, "since=", 6) == 0 &&
	    !slice_to_int64(slice_of(query + 6), &since))
		since = 0;
	history_json(admin->history, since, &text);
	answer(request, 200, "application/json", buf_slice(&text));
	buf_free(&text);
}

static void
on_keys(struct evhttp_request *request, void *arg)
{
	struct admin *admin = arg;
	int64_t now_ms = clock_mono_ms();

	if (buf_len(&admin->keys) == 0 || now_ms - admin->keys_at_ms >= KEYS_EVERY_MS) {
		buf_reset(&admin->keys);
		page_keys_json(admin->census->backends->cache, &admin->keys);
		admin->keys_at_ms = now_ms;
	}
	answer(request, 200, "application/json", buf_slice(&admin->keys));
}

/* What the page itself forbids is in its <meta>; this is what a <meta> cannot. */
static void
on_page(struct evhttp_request *request, void *arg)
{
	static const char *const headers[][2] = {
		{ "Content-Security-Policy",
		    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'" },
		{ "X-Content-Type-Options", "nosniff" },
		{ "Referrer-Policy", "no-referrer" },
	};

	(void)arg;
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
		evhttp_add_header(evhttp_request_get_output_headers(request), headers[i][0],
		    headers[i][1]);
	answer(request, 200, "text/html; charset=utf-8", page_html());
}

static void
on_other(struct evhttp_request *request, void *arg)
{
	(void)arg;
	evhttp_send_error(request, HTTP_NOTFOUND, NULL);
}

static void
on_resume(evutil_socket_t fd, short what, void *listener)
{
	(void)fd, (void)what;
	evconnlistener_enable(listener);
}

/* Who waits to be let in would keep the loop turning and turning. */
static void
on_accept_error(struct evconnlistener *listener, void *arg)
{
	struct timeval pause = { 0, PAUSE_MS * 1000 };

	(void)arg; /* evhttp's */
	evconnlistener_disable(listener);
	event_base_once(evconnlistener_get_base(listener), -1, EV_TIMEOUT, on_resume, listener,
	    &pause);
}

static bool
admin_listen(struct admin *admin, const char *address, int port)
{
	struct evhttp_bound_socket *bound =
	    evhttp_bind_socket_with_handle(admin->http, address, (ev_uint16_t)port);

	if (bound != NULL)
		evconnlistener_set_error_cb(evhttp_bound_socket_get_listener(bound),
		    on_accept_error);
	return bound != NULL;
}

struct admin *
admin_new(struct event_base *base, const struct census *census, const char *address, int port,
    char *error, size_t error_size)
{
	struct admin *admin = alloc_zero(sizeof(*admin));

	admin->census = census;
	admin->history = history_new(base, census);
	admin->http = evhttp_new(base);
	evhttp_set_allowed_methods(admin->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
	evhttp_set_max_body_size(admin->http, MAX_BODY_BYTES);
	evhttp_set_max_headers_size(admin->http, MAX_HEADERS_BYTES);
	evhttp_set_timeout(admin->http, TIMEOUT_S);
	evhttp_set_cb(admin->http, "/", on_page, admin);
	evhttp_set_cb(admin->http, "/history.json", on_history, admin);
	evhttp_set_cb(admin->http, "/keys.json", on_keys, admin);
	evhttp_set_cb(admin->http, "/metrics", on_metrics, admin);
	evhttp_set_cb(admin->http, "/healthz", on_healthz, admin);
	evhttp_set_cb(admin->http, "/readyz", on_readyz, admin);
	evhttp_set_cb(admin->http, "/status.json", on_status, admin);
	evhttp_set_gencb(admin->http, on_other, admin);
	errno = 0;
	if (!admin_listen(admin, address, port)) {
		snprintf(error, error_size, "[admin] %s:%d: %s", address, port,
		    errno != 0 ? strerror(errno) : "cannot listen there");
		admin_free(admin);
		return NULL;
	}
	return admin;
}

void
admin_free(struct admin *admin)
{
	if (admin == NULL)
		return;
	evhttp_free(admin->http);
	history_free(admin->history);
	buf_free(&admin->keys);
	free(admin);
}
