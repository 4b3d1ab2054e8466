/*
 * The URL of Redis, taken apart. Made once at start and at reload; no thread
 * of its own. Error texts quote nothing: with a '@' in the wrong place any
 * part of a URL may be the password.
 */
#include "upstream/redis_target.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/un.h>

#include <openssl/crypto.h>

#include "base/alloc.h"
#include "base/log.h"

#define DEFAULT_PORT 6379
#define REST_PORT 443

enum scheme { SCHEME_REDIS, SCHEME_REDISS, SCHEME_UNIX, SCHEME_HTTPS };

/* A URL in parts, all of them still encoded, pointing into it. */
struct parts {
	enum scheme scheme;
	struct slice user_info; /* before the '@'; at NULL: none */
	struct slice host;      /* with the brackets of an IPv6 address */
	struct slice port;      /* at NULL: none */
	struct slice path;      /* after the host, with its '/' */
	struct slice query;     /* without the '?' */
};

static const struct scheme_name {
	struct slice start;
	enum scheme scheme;
} schemes[] = {
	{ { "redis://", 8 }, SCHEME_REDIS },
	{ { "rediss://", 9 }, SCHEME_REDISS },
	{ { "unix://", 7 }, SCHEME_UNIX },
	{ { "https://", 8 }, SCHEME_HTTPS },
};

/* What a step returns: NULL, or why the URL is unusable. */
typedef const char *fault;

static fault split(struct slice url, struct parts *parts);
static fault read_user_info(struct redis_target *target, const struct parts *parts,
    struct slice token);
static fault read_address(struct redis_target *target, const struct parts *parts);
static fault read_database(struct redis_target *target, const struct parts *parts);
static fault read_query(struct redis_target *target, struct slice query);

/* Values from .env files come with their line's end, or a space before it. */
static struct slice
trimmed(const char *text)
{
	struct slice rest = slice_of(text);

	while (rest.len > 0 && strchr(" \t\r\n", rest.at[0]) != NULL) {
		rest.at++;
		rest.len--;
	}
	while (rest.len > 0 && strchr(" \t\r\n", rest.at[rest.len - 1]) != NULL)
		rest.len--;
	return rest;
}

struct redis_target *
redis_target_new(const char *url, const char *token, const char *ca_file, char *error,
    size_t error_size)
{
	struct redis_target *target = alloc_zero(sizeof(*target));
	struct parts parts = { 0 };
	fault wrong;

	pthread_mutex_init(&target->lock, NULL);
	target->access = redis_access_new();
	wrong = split(trimmed(url), &parts);
	if (wrong == NULL)
		wrong = read_user_info(target, &parts, trimmed(token));
	if (wrong == NULL)
		wrong = read_address(target, &parts);
	if (wrong == NULL)
		wrong = read_database(target, &parts);
	if (wrong == NULL)
		wrong = read_query(target, parts.query);
	if (wrong == NULL && (parts.scheme == SCHEME_REDISS || parts.scheme == SCHEME_HTTPS))
		wrong = redis_access_make_tls(target->access, ca_file);
	target->is_tls = target->access->tls != NULL;
	if (wrong == NULL)
		return target;
	snprintf(error, error_size, "%s", wrong);
	redis_target_free(target);
	return NULL;
}

void
redis_target_free(struct redis_target *target)
{
	if (target == NULL)
		return;
	redis_access_unref(target->access);
	pthread_mutex_destroy(&target->lock);
	free(target->host);
	free(target->path);
	free(target);
}

struct redis_access *
redis_target_access(const struct redis_target *target)
{
	struct redis_target *locked = (struct redis_target *)target;

	pthread_mutex_lock(&locked->lock);
	struct redis_access *access = locked->access;
	atomic_fetch_add(&access->refs, 1);
	pthread_mutex_unlock(&locked->lock);
	return access;
}

static bool
is_equal(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool
redis_target_is_same_place(const struct redis_target *a, const struct redis_target *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return is_equal(a->host, b->host) && is_equal(a->path, b->path) && a->port == b->port &&
	    a->database == b->database && a->is_tls == b->is_tls;
}

bool
redis_target_renew(struct redis_target *target, const struct redis_target *newer)
{
	if (!redis_target_is_same_place(target, newer))
		return false;
	struct redis_access *access = redis_target_access(newer);
	pthread_mutex_lock(&target->lock);
	struct redis_access *old = target->access;
	target->access = access;
	pthread_mutex_unlock(&target->lock);
	redis_access_unref(old);
	return true;
}

void
redis_target_name(const struct redis_target *target, char *text, size_t size)
{
	bool is_ipv6 = target->host != NULL && strchr(target->host, ':') != NULL;

	if (target->path != NULL)
		snprintf(text, size, "unix://%s", target->path);
	else
		snprintf(text, size, is_ipv6 ? "%s://[%s]:%d" : "%s://%s:%d",
		    target->is_tls ? "rediss" : "redis", target->host, target->port);
}

static struct slice
from(struct slice whole, size_t start)
{
	return slice_make(whole.at + start, whole.len - start);
}

static struct slice
before(struct slice whole, const char *end)
{
	return slice_make(whole.at, (size_t)(end - whole.at));
}

/* What follows the scheme: [user:pass@]host[:port][/path][?query] */
static void
split_rest(struct slice rest, struct parts *parts)
{
	const char *at;

	/* The last '@': a password with a raw '@' or '/' in it is common, and
	 * one in a database's name is unheard of. A unix socket's path may hold
	 * one, so there only "@/" ends the user. */
	if (parts->scheme == SCHEME_UNIX) {
		at = rest.len > 0 && rest.at[0] != '/' ? memmem(rest.at, rest.len, "@/", 2) : NULL;
	} else {
		at = memrchr(rest.at, '@', rest.len);
	}
	if (at != NULL) {
		parts->user_info = before(rest, at);
		rest = from(rest, parts->user_info.len + 1);
	}
	at = memchr(rest.at, '?', rest.len);
	if (at != NULL) {
		parts->query = from(rest, (size_t)(at - rest.at) + 1);
		rest = before(rest, at);
	}
	at = memchr(rest.at, '/', rest.len);
	if (at != NULL) {
		parts->path = from(rest, (size_t)(at - rest.at));
		rest = before(rest, at);
	}
	parts->host = rest;
	/* The ':' inside an IPv6 address's brackets is not the port's. */
	at = memrchr(rest.at, ':', rest.len);
	if (at != NULL && memchr(at, ']', rest.len - (size_t)(at - rest.at)) == NULL) {
		parts->host = before(rest, at);
		parts->port = from(rest, parts->host.len + 1);
	}
}

static fault
split(struct slice url, struct parts *parts)
{
	if (url.len == 0)
		return "the URL is empty";
	if (memchr(url.at, '\0', url.len) != NULL)
		return "the URL holds a NUL";
	for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
		struct slice start = schemes[i].start;

		if (url.len < start.len || strncasecmp(url.at, start.at, start.len) != 0)
			continue;
		parts->scheme = schemes[i].scheme;
		split_rest(from(url, start.len), parts);
		return NULL;
	}
	if (url.len >= 7 && strncasecmp(url.at, "http://", 7) == 0)
		return "http:// would send the token unencrypted; use the https:// URL";
	return "this is no redis://, rediss://, unix:// or https:// URL";
}

static int
hex_digit(char c)
{
	const char *digits = "0123456789abcdef";
	const char *at = c != '\0' ? strchr(digits, c | 0x20) : NULL;

	return at != NULL ? (int)(at - digits) : -1;
}

/* Undoes percent encoding into new memory that ends in a NUL of its own.
 * False: a '%' without its two digits. */
static bool
decode(struct slice text, char **out, size_t *out_len)
{
	char *to = alloc(text.len + 1);

	*out = to;
	for (size_t i = 0; i < text.len; i++) {
		int high, low;

		if (text.at[i] != '%') {
			*to++ = text.at[i];
			continue;
		}
		high = i + 1 < text.len ? hex_digit(text.at[i + 1]) : -1;
		low = i + 2 < text.len ? hex_digit(text.at[i + 2]) : -1;
		if (high < 0 || low < 0)
			return false;
		*to++ = (char)(high * 16 + low);
		i += 2;
	}
	*to = '\0';
	*out_len = (size_t)(to - *out);
	return true;
}

static void
set_password(struct redis_target *target, struct slice password)
{
	if (target->access->password != NULL)
		OPENSSL_cleanse(target->access->password, target->access->password_len);
	free(target->access->password);
	target->access->password = slice_dup(password);
	target->access->password_len = password.len;
}

static fault
read_user_info(struct redis_target *target, const struct parts *parts, struct slice token)
{
	static const char bad_escape[] =
	    "user or password has a '%' without two hexadecimal digits (write %25 for '%')";
	struct slice user = parts->user_info, password = SLICE_NONE;
	const char *colon = user.len > 0 ? memchr(user.at, ':', user.len) : NULL;
	size_t len = 0;

	if (colon != NULL) {
		user = before(user, colon);
		password = from(parts->user_info, user.len + 1);
	} else if (token.len == 0) {
		password = user;
		user = SLICE_NONE;
	}
	if (user.len > 0 && !decode(user, &target->access->user, &len))
		return bad_escape;
	if (target->access->user != NULL && strlen(target->access->user) != len)
		return "the user's name holds a NUL";
	if (password.len > 0 &&
	    !decode(password, &target->access->password, &target->access->password_len))
		return bad_escape;
	/* The token wins where it is what the URL is about. */
	if (token.len > 0 && (target->access->password == NULL || parts->scheme == SCHEME_HTTPS))
		set_password(target, token);
	if (parts->scheme == SCHEME_HTTPS && target->access->password == NULL)
		return "an https:// URL needs its token ([redis] token, UPSTASH_REDIS_REST_TOKEN)";
	return NULL;
}

static bool
is_host_name(struct slice host)
{
	for (size_t i = 0; i < host.len; i++) {
		unsigned char c = (unsigned char)host.at[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
		    c != '-' && c != '.' && c != '_')
			return false;
	}
	return host.len <= 253;
}

static fault
read_host(struct redis_target *target, struct slice host)
{
	char address[sizeof(struct in6_addr)];

	if (host.len == 0) {
		target->host = alloc_text("localhost");
		return NULL;
	}
	if (host.at[0] != '[') {
		if (!is_host_name(host))
			return "the host is no name and no address (a raw '/', '#' or '?' in the "
			       "password? write it as %2F, %23, %3F)";
		target->host = slice_dup(host);
		return NULL;
	}
	if (host.len < 3 || host.at[host.len - 1] != ']')
		return "the host's '[' has no ']' at its end";
	target->host = slice_dup(slice_make(host.at + 1, host.len - 2));
	/* "%eth0" may follow: the interface of a link-local address. */
	host = slice_of(target->host);
	if (memchr(host.at, '%', host.len) == NULL &&
	    inet_pton(AF_INET6, target->host, address) != 1)
		return "what stands in [] is no IPv6 address";
	return NULL;
}

static fault
read_address(struct redis_target *target, const struct parts *parts)
{
	int64_t port;
	fault wrong;
	size_t len;

	if (parts->scheme == SCHEME_UNIX) {
		if (parts->host.len > 0 || parts->path.len < 2)
			return "a unix:// URL needs an absolute path (unix:///run/redis.sock)";
		if (!decode(parts->path, &target->path, &len))
			return "the path has a '%' without two hexadecimal digits";
		if (strlen(target->path) != len)
			return "the path holds a NUL";
		if (len >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
			return "the socket's path is longer than 107 bytes";
		return NULL;
	}
	wrong = read_host(target, parts->host);
	if (wrong != NULL)
		return wrong;
	target->port = DEFAULT_PORT;
	if (parts->port.at == NULL)
		return NULL;
	if (!slice_to_int64(parts->port, &port) || port < 1 || port > 65535)
		return "the port is not a number from 1 to 65535";
	/* Upstash's REST port says nothing about the protocol's. */
	if (parts->scheme != SCHEME_HTTPS || port != REST_PORT)
		target->port = (int)port;
	return NULL;
}

static fault
set_database(struct redis_target *target, struct slice text)
{
	int64_t number;

	if (!slice_to_int64(text, &number) || number < 0 || number > INT_MAX)
		return "the database is not a number";
	target->database = (int)number;
	return NULL;
}

static fault
read_database(struct redis_target *target, const struct parts *parts)
{
	if (parts->scheme == SCHEME_UNIX || parts->scheme == SCHEME_HTTPS || parts->path.len < 2)
		return NULL;
	return set_database(target, from(parts->path, 1));
}

static fault
read_query(struct redis_target *target, struct slice query)
{
	while (query.len > 0) {
		const char *end = memchr(query.at, '&', query.len);
		struct slice one = end != NULL ? before(query, end) : query;
		const char *equals = memchr(one.at, '=', one.len);
		struct slice name = equals != NULL ? before(one, equals) : one;
		fault wrong = NULL;

		if (slice_equal(name, SLICE("db")) && equals != NULL)
			wrong = set_database(target, from(one, name.len + 1));
		else if (is_host_name(name) && name.len > 0)
			log_warn("backend=redis event=url_parameter_left_out name=%.*s",
			    (int)name.len, name.at);
		if (wrong != NULL)
			return wrong;
		query = from(query, end != NULL ? one.len + 1 : one.len);
	}
	return NULL;
}
