/*
 * See log.h. A line is built on the stack and leaves with one write(2), so
 * that lines of several threads never mix.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"

#define LINE_SIZE 2048
#define PREFIX_MAX 24 /* a longer map name is more likely somebody's data */

static _Atomic int lowest = LOG_INFO;
static _Atomic int style = LOG_TEXT;

static const char *const level_names[] = { "debug", "info", "warn", "error" };

void
log_setup(enum log_level lowest_level, enum log_format format)
{
	lowest = (int)lowest_level;
	style = (int)format;
}

bool
log_wants(enum log_level level)
{
	return (int)level >= lowest;
}

static void
time_text(char *text, size_t size)
{
	struct timespec now;
	struct tm utc;
	char seconds[24];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(text, size, "%s.%03ldZ", seconds, now.tv_nsec / 1000000);
}

/* Well-formed UTF-8 (Unicode, table 3-7): what the first byte may be, what the
 * second, and how many there are. Further ones are 80 to bf. */
static const struct shape {
	unsigned char first[2], second[2];
	size_t len;
} shapes[] = {
	{ { 0x01, 0x7f }, { 0x00, 0xff }, 1 }, { { 0xc2, 0xdf }, { 0x80, 0xbf }, 2 },
	{ { 0xe0, 0xe0 }, { 0xa0, 0xbf }, 3 }, /* less would be longer than it need be */
	{ { 0xe1, 0xec }, { 0x80, 0xbf }, 3 },
	{ { 0xed, 0xed }, { 0x80, 0x9f }, 3 }, /* no surrogates */
	{ { 0xee, 0xef }, { 0x80, 0xbf }, 3 }, { { 0xf0, 0xf0 }, { 0x90, 0xbf }, 4 },
	{ { 0xf1, 0xf3 }, { 0x80, 0xbf }, 4 },
	{ { 0xf4, 0xf4 }, { 0x80, 0x8f }, 4 }, /* up to U+10FFFF */
};

static bool
is_within(unsigned char byte, const unsigned char range[2])
{
	return byte >= range[0] && byte <= range[1];
}

/* How many bytes the character at `c` has; 0: it is none. */
static size_t
utf8_len(const unsigned char *c)
{
	static const unsigned char further[2] = { 0x80, 0xbf };
	const struct shape *shape = shapes, *end = shapes + sizeof(shapes) / sizeof(shapes[0]);

	while (shape < end && !is_within(c[0], shape->first))
		shape++;
	if (shape == end || !is_within(c[1], shape->second))
		return 0;
	for (size_t i = 2; i < shape->len; i++) {
		if (!is_within(c[i], further))
			return 0;
	}
	return shape->len;
}

/* Control bytes would let a peer's text forge a line; bytes that are no UTF-8
 * would make a line that is no JSON. */
static size_t
escape(const char *message, bool is_json, char *out, size_t size)
{
	size_t len = 0;

	for (const unsigned char *c = (const unsigned char *)message; *c != '\0'; c++) {
		if (len + 8 > size)
			break;
		if (is_json && (*c == '"' || *c == '\\')) {
			out[len++] = '\\';
			out[len++] = (char)*c;
		} else if (*c < ' ' || *c == 0x7f || utf8_len(c) == 0) {
			len += (size_t)snprintf(out + len, size - len,
			    is_json ? "\\u%04x" : "\\x%02x", *c);
		} else {
			size_t bytes = utf8_len(c);
			memcpy(out + len, c, bytes);
			len += bytes;
			c += bytes - 1;
		}
	}
	out[len] = '\0';
	return len;
}

void
log_line(enum log_level level, const char *format, ...)
{
	char when[40], message[LINE_SIZE / 2], safe[LINE_SIZE], line[LINE_SIZE + 128];
	bool is_json = style == LOG_JSON;
	va_list args;

	if (!log_wants(level))
		return;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	time_text(when, sizeof(when));
	escape(message, is_json, safe, sizeof(safe));
	int len = snprintf(line, sizeof(line),
	    is_json ? "{\"time\":\"%s\",\"level\":\"%s\",\"message\":\"%s\"}\n" : "%s %s %s\n",
	    when, level_names[level], safe);
	/* Where standard error is gone there is nobody left to tell. */
	ssize_t written = write(STDERR_FILENO, line, (size_t)len);
	(void)written;
}

static bool
is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-' || c == '.';
}

const char *
log_key(struct slice key, char text[LOG_KEY_SIZE])
{
	size_t prefix = 0;

	while (prefix < key.len && prefix < PREFIX_MAX && is_plain(key.at[prefix]))
		prefix++;
	if (prefix == key.len || key.at[prefix] != ':')
		prefix = 0;
	snprintf(text, LOG_KEY_SIZE, "%.*s%s#%06x", (int)prefix, key.at, prefix > 0 ? ":" : "",
	    (unsigned)(hash_bytes(key) & 0xffffff));
	return text;
}

bool
log_throttle(int64_t *last_ms, int64_t now_ms, int64_t every_ms)
{
	int64_t last = __atomic_load_n(last_ms, __ATOMIC_RELAXED);

	if (last != 0 && now_ms - last < every_ms)
		return false;
	return __atomic_compare_exchange_n(last_ms, &last, now_ms, false, __ATOMIC_RELAXED,
	    __ATOMIC_RELAXED);
}
