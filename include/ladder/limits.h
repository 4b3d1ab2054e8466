/*
 * Rate limits: how often a user, an address or a key of CL.THROTTLE may ask,
 * in tables that all threads share. Decided here, so the same whether the
 * backends are up or down.
 *
 * A rate of `[limits]` is a gcra (gcra.h) with a small burst: a second's worth,
 * 20 at least, and never more than the count itself. So 1000/min is one in
 * 60 ms and 20 at once, and who asks twice as often for three minutes gets
 * 3,020 answers, not 4,000.
 *
 * Who goes on asking is put off for longer and longer. Refusals have a rate of
 * their own, ten times that of answers with a burst ten times as large. Who
 * exceeds that as well is barred for 2 intervals, the next time for 4, then 8,
 * ... at most for the period or a minute; while it goes on it is answered
 * little and told the whole wait. It is forgotten as soon as a burst of
 * refusals would fit again, which who waits as told always reaches. Up to
 * eleven times the rate nobody is barred.
 *
 * A table is fixed in size: buckets of 7 places, found by a keyed hash. Who has
 * used nothing lately needs no place, so the one soonest free gives way. Many
 * ids of one request each never push out a limited one, whose moment lies
 * further ahead; and where a bucket is full of such, the newcomer takes over
 * what the one before it had used, all but one request: forgetting gives
 * nobody a new burst.
 */
#ifndef SIDECAR_LADDER_LIMITS_H
#define SIDECAR_LADDER_LIMITS_H

#include "base/buf.h"
#include "base/settings.h"
#include "ladder/gcra.h"

/* As in sidecar_limited_total{scope}. */
enum limit_scope { LIMIT_PER_USER, LIMIT_PER_IP, LIMIT_THROTTLE, LIMIT_SCOPES };

extern const char *const limit_scope_names[LIMIT_SCOPES];

struct limits;

struct limits *limits_new(void); /* with no rates: everything is allowed */
void limits_free(struct limits *limits);

/* The rates from now on; what was used stays used, who was barred no longer
 * is. One thread at a time. */
void limits_set(struct limits *limits, struct rate per_user, struct rate per_ip);
/* As it was set; count 0: off. Any thread. */
struct rate limits_rate(const struct limits *limits, enum limit_scope scope);
bool limits_is_on(const struct limits *limits, enum limit_scope scope);

/*
 * One request of `who`, a keyed hash (base/hash.h). True: it is allowed, and
 * counted. False: not before `retry_ns`. Any thread; holds a lock for a moment.
 */
MUST_CHECK bool limits_allow(struct limits *limits, enum limit_scope scope, uint64_t who,
    int64_t now_ns, int64_t *retry_ns);

/* Appends "-RATELIMITED retry in 57 ms (per_user 1000/min)\r\n". */
void limits_refuse(const struct limits *limits, enum limit_scope scope, int64_t retry_ns,
    struct buf *out);

/* CL.THROTTLE: nobody is barred. Any thread. */
void limits_throttle(struct limits *limits, uint64_t who, const struct gcra_rate *rate,
    int64_t quantity, int64_t now_ns, struct gcra_answer *answer);

#endif
