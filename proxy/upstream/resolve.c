/*
 * Names to addresses: a thin layer over evdns that answers from a later turn
 * in every case, and notices when /etc/resolv.conf came after we did.
 * Owned and run by one event loop's thread.
 */
#include "upstream/resolve.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <event2/dns.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/util.h>

#include "base/alloc.h"
#include "base/log.h"

struct resolve {
	struct event later; /* calls done */
	struct evdns_base *dns;
	struct evdns_getaddrinfo_request *query;
	resolved_fn done;
	void *arg;
	bool is_asking;    /* evdns still owes us its callback */
	bool is_cancelled; /* and it will be the one to free us */
	bool is_unanswered;
	const char *error;
	int count;
	char addresses[RESOLVE_MAX_ADDRESSES][RESOLVE_ADDRESS_SIZE];
};

static void
read_system_files(struct evdns_base *dns)
{
	/* Missing files: evdns then asks 127.0.0.1, as the C library does. */
	evdns_base_resolv_conf_parse(dns, DNS_OPTIONS_ALL, "/etc/resolv.conf");
}

/* evdns would write its complaints to standard error in a form of its own. */
static void
on_evdns_log(int is_warning, const char *text)
{
	(void)is_warning;
	log_debug("event=resolver text=\"%s\"", text);
}

static void
set_evdns_log(void)
{
	evdns_set_log_fn(on_evdns_log);
}

struct evdns_base *
resolve_base_new(struct event_base *base)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct evdns_base *dns = evdns_base_new(base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);

	pthread_once(&once, set_evdns_log);
	if (dns == NULL)
		return NULL;
	/* evdns's own 5 s x 3 is longer than anybody here waits. What
	 * resolv.conf says comes after these, and wins. */
	evdns_base_set_option(dns, "timeout:", "2");
	evdns_base_set_option(dns, "attempts:", "2");
	/* Some resolvers answer in lower case, which evdns would call forged. */
	evdns_base_set_option(dns, "randomize-case:", "0");
	read_system_files(dns);
	return dns;
}

void
resolve_base_free(struct evdns_base *dns)
{
	if (dns != NULL)
		evdns_base_free(dns, 1);
}

/* The machine may have come into its network after we started: without this
 * a resolver that was missing then would be missing for ever. */
static void
read_system_files_again(struct evdns_base *dns)
{
	evdns_base_clear_nameservers_and_suspend(dns);
	evdns_base_clear_host_addresses(dns);
	read_system_files(dns);
	evdns_base_resume(dns);
}

static void
answer_later(struct resolve *resolve)
{
	static const struct timeval at_once = { 0, 0 };

	event_add(&resolve->later, &at_once);
}

static void
on_later(evutil_socket_t fd, short what, void *arg)
{
	struct resolve *resolve = arg;
	const char *addresses[RESOLVE_MAX_ADDRESSES];

	(void)fd, (void)what;
	for (int i = 0; i < resolve->count; i++)
		addresses[i] = resolve->addresses[i];
	if (resolve->is_unanswered)
		read_system_files_again(resolve->dns);
	resolve->done(addresses, resolve->count, resolve->count > 0 ? NULL : resolve->error,
	    resolve->arg);
	free(resolve);
}

static void
add_address(struct resolve *resolve, const char *text)
{
	if (resolve->count == RESOLVE_MAX_ADDRESSES)
		return;
	snprintf(resolve->addresses[resolve->count++], RESOLVE_ADDRESS_SIZE, "%s", text);
}

/* IPv4 first: where both exist, a half-broken IPv6 is the likelier fault. */
static void
add_family(struct resolve *resolve, const struct evutil_addrinfo *found, int family)
{
	for (; found != NULL; found = found->ai_next) {
		char text[INET6_ADDRSTRLEN];
		const void *at;

		if (found->ai_family != family)
			continue;
		if (family == AF_INET)
			at = &((const struct sockaddr_in *)found->ai_addr)->sin_addr;
		else
			at = &((const struct sockaddr_in6 *)found->ai_addr)->sin6_addr;
		if (inet_ntop(family, at, text, sizeof(text)) != NULL)
			add_address(resolve, text);
	}
}

/* evdns calls this inside evdns_getaddrinfo() when /etc/hosts knows the name. */
static void
on_found(int error, struct evutil_addrinfo *found, void *arg)
{
	struct resolve *resolve = arg;

	resolve->is_asking = false;
	resolve->query = NULL;
	if (resolve->is_cancelled) {
		free(resolve);
	} else {
		add_family(resolve, found, AF_INET);
		add_family(resolve, found, AF_INET6);
		resolve->is_unanswered = error == EVUTIL_EAI_AGAIN || error == EVUTIL_EAI_FAIL;
		resolve->error =
		    resolve->is_unanswered ? "resolver does not answer" : "unknown host";
		answer_later(resolve);
	}
	if (found != NULL)
		evutil_freeaddrinfo(found);
}

static void
ask(struct resolve *resolve, const char *host)
{
	struct evutil_addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_protocol = IPPROTO_TCP,
		.ai_flags = EVUTIL_AI_ADDRCONFIG,
	};
	struct evdns_getaddrinfo_request *query;

	resolve->is_asking = true;
	query = evdns_getaddrinfo(resolve->dns, host, NULL, &hints, on_found, resolve);
	if (resolve->is_asking)
		resolve->query = query;
}

static bool
is_numeric(const char *host)
{
	unsigned char address[sizeof(struct in6_addr)];

	/* An IPv6 address may name its interface: fe80::1%eth0 */
	return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1 ||
	    (strchr(host, ':') != NULL && strchr(host, '%') != NULL);
}

struct resolve *
resolve_start(struct event_base *base, struct evdns_base *dns, const char *host, resolved_fn done,
    void *arg)
{
	struct resolve *resolve = alloc_zero(sizeof(*resolve));

	resolve->dns = dns;
	resolve->done = done;
	resolve->arg = arg;
	resolve->error = "unknown host";
	evtimer_assign(&resolve->later, base, on_later, resolve);
	if (is_numeric(host)) {
		add_address(resolve, host);
		answer_later(resolve);
	} else if (strcasecmp(host, "localhost") == 0) { /* RFC 6761 */
		add_address(resolve, "127.0.0.1");
		add_address(resolve, "::1");
		answer_later(resolve);
	} else if (dns == NULL) {
		resolve->error = "no resolver";
		answer_later(resolve);
	} else {
		ask(resolve, host);
	}
	return resolve;
}

void
resolve_cancel(struct resolve *resolve)
{
	if (resolve == NULL)
		return;
	if (resolve->is_asking) {
		resolve->is_cancelled = true;
		evdns_getaddrinfo_cancel(resolve->query);
		return;
	}
	event_del(&resolve->later);
	free(resolve);
}
