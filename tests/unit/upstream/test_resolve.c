#include "upstream/resolve.h"

#include <event2/dns.h>

#include "redis_world.h"

static struct {
	bool is_done, is_inside;
	int times, count;
	char first[64], second[64], error[64];
} seen;

static void
on_resolved(const char *const *addresses, int count, const char *error, void *arg)
{
	(void)arg;
	CHECK(!seen.is_inside);
	seen.is_done = true;
	seen.times++;
	seen.count = count;
	snprintf(seen.first, sizeof(seen.first), "%s", count > 0 ? addresses[0] : "");
	snprintf(seen.second, sizeof(seen.second), "%s", count > 1 ? addresses[1] : "");
	snprintf(seen.error, sizeof(seen.error), "%s", error != NULL ? error : "");
}

static struct resolve *
start(struct evdns_base *dns, const char *host)
{
	struct resolve *resolve;

	memset(&seen, 0, sizeof(seen));
	seen.is_inside = true;
	resolve = resolve_start(base, dns, host, on_resolved, NULL);
	seen.is_inside = false;
	return resolve;
}

static void
resolve(struct evdns_base *dns, const char *host)
{
	start(dns, host);
	CHECK(true_after(&seen.is_done, 8000));
	CHECK_INT(seen.times, 1);
}

/* A resolver of the test's own: answers A queries with 192.0.2.7 and 192.0.2.8
 * and AAAA with 2001:db8::1, in DNS's own bytes; "no..." with NXDOMAIN. */
static int questions;
static bool is_silent;

static void
on_question(evutil_socket_t fd, short what, void *arg)
{
	static const unsigned char ipv4[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2 };
	static const unsigned char ipv6[] = { 0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 60, 0, 16, 0x20, 1,
		0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 };
	unsigned char packet[600];
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	ssize_t len = recvfrom(fd, packet, 512, 0, (struct sockaddr *)&from, &from_len);
	bool is_known, is_ipv6;

	(void)what, (void)arg;
	questions++;
	if (len < 17 || is_silent)
		return;
	is_known = packet[13] != 'n' && packet[13] != 'N';
	is_ipv6 = packet[len - 3] == 28;
	packet[2] = 0x81;
	packet[3] = is_known ? 0x80 : 0x83;
	packet[7] = !is_known ? 0 : is_ipv6 ? 1 : 2;
	for (int i = 7; is_known && !is_ipv6 && i <= 8; i++) {
		memcpy(packet + len, ipv4, sizeof(ipv4));
		len += sizeof(ipv4);
		packet[len++] = (unsigned char)i;
	}
	if (is_known && is_ipv6) {
		memcpy(packet + len, ipv6, sizeof(ipv6));
		len += sizeof(ipv6);
	}
	sendto(fd, packet, (size_t)len, 0, (struct sockaddr *)&from, from_len);
}

static struct evdns_base *
fake_dns(struct event **event, int *fd)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	struct evdns_base *dns = evdns_base_new(base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	socklen_t len = sizeof(address);
	char name[32];

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	*fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (bind(*fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    getsockname(*fd, (struct sockaddr *)&address, &len) != 0)
		abort();
	snprintf(name, sizeof(name), "127.0.0.1:%d", ntohs(address.sin_port));
	evdns_base_nameserver_ip_add(dns, name);
	evdns_base_set_option(dns, "timeout:", "0.2");
	evdns_base_set_option(dns, "attempts:", "1");
	*event = event_new(base, *fd, EV_READ | EV_PERSIST, on_question, NULL);
	event_add(*event, NULL);
	questions = 0;
	is_silent = false;
	return dns;
}

static void
stop_dns(struct evdns_base *dns, struct event *event, int fd)
{
	event_base_loop(base, EVLOOP_NONBLOCK);
	resolve_base_free(dns);
	event_free(event);
	close(fd);
}

TEST(a_numeric_address_takes_no_query)
{
	resolve(NULL, "192.0.2.1");
	CHECK_INT(seen.count, 1);
	CHECK_TEXT(seen.first, "192.0.2.1");
	resolve(NULL, "2001:db8::7");
	CHECK_TEXT(seen.first, "2001:db8::7");
	resolve(NULL, "fe80::1%lo");
	CHECK_TEXT(seen.first, "fe80::1%lo");
}

TEST(localhost_is_this_machine_whatever_the_resolver_says)
{
	resolve(NULL, "LocalHost");
	CHECK_INT(seen.count, 2);
	CHECK_TEXT(seen.first, "127.0.0.1");
	CHECK_TEXT(seen.second, "::1");
}

TEST(a_name_is_looked_up_with_ipv4_first)
{
	struct event *event;
	int fd;
	struct evdns_base *dns = fake_dns(&event, &fd);

	resolve(dns, "redis.example");
	CHECK(seen.count >= 2);
	CHECK_TEXT(seen.first, "192.0.2.7");
	CHECK_TEXT(seen.second, "192.0.2.8");
	CHECK(questions > 0);
	stop_dns(dns, event, fd);
}

TEST(an_unknown_name_says_so)
{
	struct event *event;
	int fd;
	struct evdns_base *dns = fake_dns(&event, &fd);

	resolve(dns, "no.example");
	CHECK_INT(seen.count, 0);
	CHECK_TEXT(seen.error, "unknown host");
	stop_dns(dns, event, fd);
}

TEST(a_resolver_that_hangs_costs_its_time_limit)
{
	struct event *event;
	int fd;
	struct evdns_base *dns = fake_dns(&event, &fd);
	int64_t since = clock_mono_ms();

	is_silent = true;
	resolve(dns, "redis.example");
	CHECK_INT(seen.count, 0);
	CHECK_TEXT(seen.error, "resolver does not answer");
	CHECK(clock_mono_ms() - since < 3000);
	stop_dns(dns, event, fd);
}

TEST(a_cancelled_query_is_not_answered)
{
	struct event *event;
	int fd;
	struct evdns_base *dns = fake_dns(&event, &fd);

	resolve_cancel(start(dns, "redis.example"));
	resolve_cancel(start(dns, "192.0.2.1"));
	is_silent = true;
	struct resolve *late = start(dns, "redis.example");
	run_for(50);
	resolve_cancel(late);
	run_for(500);
	CHECK_INT(seen.times, 0);
	resolve_cancel(NULL);
	stop_dns(dns, event, fd);
}

TEST(the_systems_files_are_read)
{
	struct evdns_base *dns = resolve_base_new(base);

	CHECK(dns != NULL);
	resolve_cancel(start(dns, "redis.invalid"));
	event_base_loop(base, EVLOOP_NONBLOCK);
	resolve_base_free(dns);
}

int
main(void)
{
	int status;

	base = event_base_new();
	status = test_run_all();
	event_base_free(base);
	return status;
}
