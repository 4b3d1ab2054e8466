/*
 * One line an event, to standard error, as text or JSON. Any thread may log;
 * a line is written in one piece.
 *
 * Never a value, a password, a token or a user's id: a key goes through
 * log_key(), which leaves its map's name and a keyed hash of the rest.
 */
#ifndef SIDECAR_BASE_LOG_H
#define SIDECAR_BASE_LOG_H

#include "base/slice.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

void log_setup(enum log_level lowest, enum log_format format);
bool log_wants(enum log_level level);

__attribute__((format(printf, 2, 3))) void log_line(enum log_level level, const char *format, ...);

#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

/* "profile:#9f2c41" for "profile:42": what stands before the first ':' (when
 * that is short and plain) and a keyed hash. Written into `text`. */
#define LOG_KEY_SIZE 48
const char *log_key(struct slice key, char text[LOG_KEY_SIZE]);

/* True at most once in `every_ms` for one `last_ms`; for repeats. Any thread. */
bool log_throttle(int64_t *last_ms, int64_t now_ms, int64_t every_ms);

#endif
