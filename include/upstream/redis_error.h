/*
 * What went wrong with Redis, in one word for the metrics and one phrase for
 * the log; and what Redis's own error replies say about Redis itself.
 */
#ifndef SIDECAR_UPSTREAM_REDIS_ERROR_H
#define SIDECAR_UPSTREAM_REDIS_ERROR_H

#include "base/slice.h"
#include "upstream/breaker.h"

struct redis_failure {
	enum failure_kind kind;
	char reason[160]; /* no secrets */
};

__attribute__((format(printf, 3, 4))) void redis_fail(struct redis_failure *failure,
    enum failure_kind kind, const char *format, ...);

/* FAILURE_TIMEOUT: "WAITED_FOR within 5 s". */
void redis_fail_by_timeout(struct redis_failure *failure, const char *waited_for, int64_t wait_ms);

/* The kind of "Redis cannot serve" that an error reply means, or -1 when the
 * error is about the command. `reply` starts with '-'. */
int redis_error_kind(struct slice reply);

/*
 * The word an error reply starts with ("WRONGPASS"), "ERR" when it has none.
 * The only part of an error that may be logged: some repeat the arguments of
 * the command, and AUTH's argument is the password.
 */
#define REDIS_ERROR_CODE_SIZE 24
const char *redis_error_code(struct slice reply, char code[REDIS_ERROR_CODE_SIZE]);

/* Whether `text` occurs in an error reply; ASCII letters of either case match. */
bool redis_error_says(struct slice reply, const char *text);

#endif
