/*
 * The floor: a server that answers GET and MGET without looking anything up,
 * so that what it costs is the kernel's, libevent's, and the parsing that
 * nobody can leave out. One thread; one recv and one send a batch.
 *
 *   floor PORT
 *
 * It knows the load generator's keys (key:0000000000000042): their digits tell
 * the value, a piece of the alphabet of 128 bytes. Other commands get an error.
 */
#include <arpa/inet.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define VALUE_BYTES 128
#define REPLY_BYTES (6 + VALUE_BYTES + 2) /* "$128\r\n", the value, "\r\n" */
#define MAX_REQUEST_BYTES 65536
#define MAX_KEYS (MAX_REQUEST_BYTES / 10)

struct client {
	struct event readable;
	size_t held_len; /* of a request whose rest has not come yet */
	char *held;
};

static char replies[26][REPLY_BYTES];
static char in[2 * MAX_REQUEST_BYTES], out[MAX_KEYS * REPLY_BYTES];

/* "*2\r\n" or "$20\r\n" at *AT: its number; -1: not whole. */
static int
take_number(const char **at, const char *end)
{
	const char *digit = *at + 1;
	int number = 0;

	for (; digit < end && *digit != '\r'; digit++)
		number = number * 10 + (*digit - '0');
	if (end - digit < 2)
		return -1;
	*at = digit + 2;
	return number;
}

static size_t
append_value(char *to, const char *key, int key_len)
{
	unsigned number = 0;

	for (int i = 4; i < key_len; i++)
		number = number * 10 + (unsigned)(key[i] - '0');
	memcpy(to, replies[number * 7 % 26], REPLY_BYTES);
	return REPLY_BYTES;
}

/* The reply to the request at *AT; 0: it is not whole. */
static size_t
answer(const char **at, const char *end, char *to)
{
	const char *word = *at;
	size_t len = 0;
	bool is_get = false;
	int words = take_number(&word, end);

	for (int i = 0; i < words; i++) {
		int word_len = word < end ? take_number(&word, end) : -1;
		if (word_len < 0 || end - word < word_len + 2)
			return 0;
		if (i == 0 && word_len == 4 && memcmp(word, "MGET", 4) == 0)
			len = (size_t)sprintf(to, "*%d\r\n", words - 1);
		if (i == 0)
			is_get = memcmp(word + word_len - 3, "GET", 3) == 0;
		else if (is_get)
			len += append_value(to + len, word, word_len);
		word += word_len + 2;
	}
	if (words <= 0)
		return 0;
	*at = word;
	return is_get ? len : (size_t)sprintf(to, "-ERR only GET and MGET\r\n");
}

static void
hold(struct client *client, const char *at, size_t len)
{
	if (len > 0) {
		client->held = client->held != NULL ? client->held : malloc(MAX_REQUEST_BYTES);
		memcpy(client->held, at, len);
	}
	client->held_len = len;
}

static void
end_client(struct client *client)
{
	event_del(&client->readable);
	close(event_get_fd(&client->readable));
	free(client->held);
	free(client);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct client *client = arg;
	const char *at = in, *end = in + client->held_len;
	size_t reply_len = 0, len;

	(void)what;
	memcpy(in, client->held_len > 0 ? client->held : in, client->held_len);
	ssize_t got = recv(fd, in + client->held_len, MAX_REQUEST_BYTES, 0);
	if (got <= 0)
		return end_client(client);
	end += got;
	while (at < end && (len = answer(&at, end, out + reply_len)) > 0)
		reply_len += len;
	if (end - at > MAX_REQUEST_BYTES)
		return end_client(client);
	hold(client, at, (size_t)(end - at));
	/* What does not fit into the socket is lost: the load generator says so. */
	if (reply_len > 0)
		send(fd, out, reply_len, MSG_NOSIGNAL);
}

static void
on_acceptable(evutil_socket_t listener, short what, void *arg)
{
	struct client *client;
	int fd, yes = 1;

	(void)what;
	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
		client = calloc(1, sizeof(*client));
		event_assign(&client->readable, arg, fd, EV_READ | EV_PERSIST, on_readable, client);
		event_add(&client->readable, NULL);
	}
}

int
main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 0)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct event_base *base = event_base_new();
	int yes = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	for (int first = 0; first < 26; first++) {
		char *at = replies[first] + sprintf(replies[first], "$%d\r\n", VALUE_BYTES);
		for (int i = 0; i < VALUE_BYTES; i++)
			*at++ = (char)('a' + (first + i) % 26);
		memcpy(at, "\r\n", 2);
	}
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(listener, 4096) != 0) {
		perror("floor");
		return 1;
	}
	struct event *acceptable =
	    event_new(base, listener, EV_READ | EV_PERSIST, on_acceptable, base);
	event_add(acceptable, NULL);
	return event_base_dispatch(base);
}
