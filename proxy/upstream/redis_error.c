/* See redis_error.h. Pure. */
#include "upstream/redis_error.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

/* Errors that are not about the command. Those that refuse writes only (OOM,
 * MISCONF, NOREPLICAS) are answers: reads still work. */
static const struct sick_code {
	const char *code;
	enum failure_kind kind;
} sick_codes[] = {
	{ "LOADING", FAILURE_LOADING },
	{ "READONLY", FAILURE_LOADING },
	{ "MASTERDOWN", FAILURE_LOADING },
	{ "CLUSTERDOWN", FAILURE_LOADING },
	{ "BUSY", FAILURE_LOADING },
	{ "NOAUTH", FAILURE_AUTH },
	{ "WRONGPASS", FAILURE_AUTH },
	{ "DENIED", FAILURE_AUTH },
};

/* The same among errors whose code is ERR. */
static const struct sick_text {
	const char *start; /* how the message begins, after "-ERR " */
	const char *also;  /* and what it holds */
	enum failure_kind kind;
} sick_texts[] = {
	/* "max requests limit exceeded. Limit: 10000, ...", "max daily request
	 * limit exceeded"; but "max request size exceeded" is the command's. */
	{ "max ", "limit exceeded", FAILURE_QUOTA },
	{ "max concurrent connections", "", FAILURE_QUOTA },
	{ "max number of clients", "", FAILURE_LOADING },
};

void
redis_fail(struct redis_failure *failure, enum failure_kind kind, const char *format, ...)
{
	va_list args;

	failure->kind = kind;
	va_start(args, format);
	vsnprintf(failure->reason, sizeof(failure->reason), format, args);
	va_end(args);
}

void
redis_fail_by_timeout(struct redis_failure *failure, const char *waited_for, int64_t wait_ms)
{
	bool is_even = wait_ms % 1000 == 0;

	redis_fail(failure, FAILURE_TIMEOUT, "%s within %" PRId64 " %s", waited_for,
	    is_even ? wait_ms / 1000 : wait_ms, is_even ? "s" : "ms");
}

static struct slice
first_line(struct slice reply)
{
	const char *cr = memchr(reply.at, '\r', reply.len);

	return cr != NULL ? slice_make(reply.at, (size_t)(cr - reply.at)) : reply;
}

const char *
redis_error_code(struct slice reply, char code[REDIS_ERROR_CODE_SIZE])
{
	size_t len = 0;

	for (size_t i = 1; i < reply.len && len < REDIS_ERROR_CODE_SIZE - 1; i++) {
		char c = reply.at[i];

		if (!(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && c != '_')
			break;
		code[len++] = c;
	}
	code[len] = '\0';
	return len > 1 ? code : strcpy(code, "ERR");
}

bool
redis_error_says(struct slice reply, const char *text)
{
	struct slice line = first_line(reply);
	size_t len = strlen(text);

	for (size_t i = 0; i + len <= line.len; i++)
		if (strncasecmp(line.at + i, text, len) == 0)
			return true;
	return false;
}

int
redis_error_kind(struct slice reply)
{
	char code[REDIS_ERROR_CODE_SIZE];

	redis_error_code(reply, code);
	for (size_t i = 0; i < sizeof(sick_codes) / sizeof(*sick_codes); i++)
		if (strcmp(code, sick_codes[i].code) == 0)
			return sick_codes[i].kind;
	if (!slice_starts(reply, SLICE("-ERR ")))
		return -1;
	for (size_t i = 0; i < sizeof(sick_texts) / sizeof(*sick_texts); i++) {
		struct slice message = slice_make(reply.at + 5, reply.len - 5);
		size_t len = strlen(sick_texts[i].start);

		if (message.len >= len && strncasecmp(message.at, sick_texts[i].start, len) == 0 &&
		    redis_error_says(reply, sick_texts[i].also))
			return sick_texts[i].kind;
	}
	return -1;
}
