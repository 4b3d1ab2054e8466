/* See limits.h. A bucket has a line of names, so that finding one costs a
 * cache line, and the entry another. Any thread; limits_set() one at a time. */
#include "ladder/limits.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/settings_units.h"

#define PLACES 7
#define LOCKS 64 /* of a table; each stands for every 64th bucket */
#define LINE_BYTES 64

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S (1000 * NS_PER_MS)

#define BURST_MIN 20
#define PATIENCE 10                /* refusals for each answer, in rate and in burst */
#define BAR_MAX_NS (60 * NS_PER_S) /* or an interval, where that is longer */
#define TEXT_SIZE 64

const char *const limit_scope_names[LIMIT_SCOPES] = { "per_user", "per_ip", "throttle" };

/* Buckets of 320 bytes: 114,688 users, 14,336 addresses, 114,688 keys in
 * 11 MB, which are only touched as they are used. */
static const size_t bucket_counts[LIMIT_SCOPES] = { 16384, 2048, 16384 };

struct limit_entry {
	struct gcra answers;
	int64_t refusals_full_ns; /* a gcra of the refusals */
	int64_t barred_until_ns;
};

struct limit_bucket {
	_Alignas(LINE_BYTES) uint64_t who[PLACES]; /* 0: nobody */
	uint8_t offences[PLACES];
	struct limit_entry entries[PLACES];
};

struct limit_table {
	struct limit_lock {
		_Alignas(LINE_BYTES) pthread_mutex_t mutex;
	} locks[LOCKS];
	struct limit_bucket *buckets;
	void *block; /* what `buckets` is in */
	size_t count;
};

/* Never changes once it is published; an old one stays until the end. */
struct limit_policy {
	struct rate set;
	struct gcra_rate rate;
	int64_t burst_ns;    /* of it */
	int64_t patience_ns; /* the interval of refusals, whose burst takes as long */
	int64_t bar_max_ns;
	size_t text_len;
	char text[TEXT_SIZE]; /* " ms (per_user 1000/min)\r\n" */
	struct limit_policy *older;
};

struct limits { /* on lines of its own, for the locks' sake */
	struct limit_table tables[LIMIT_SCOPES];
	_Atomic(struct limit_policy *) policies[LIMIT_SCOPES];
};

/* ---- making them ---- */

/* Aligned by hand: what calloc() gives is not touched before it is used. */
static void
table_init(struct limit_table *table, size_t count)
{
	table->count = count;
	table->block = alloc_zero(count * sizeof(*table->buckets) + LINE_BYTES);
	uintptr_t at = ((uintptr_t)table->block + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
	table->buckets = (struct limit_bucket *)at;
	for (size_t i = 0; i < LOCKS; i++)
		pthread_mutex_init(&table->locks[i].mutex, NULL);
}

static void
table_end(struct limit_table *table)
{
	for (size_t i = 0; i < LOCKS; i++)
		pthread_mutex_destroy(&table->locks[i].mutex);
	free(table->block);
}

static int64_t
smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t
larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* A second's worth, within bounds. */
static int64_t
burst_of(struct rate rate)
{
	int64_t second = (int64_t)((__int128)rate.count * 1000 / rate.period_ms);

	return smaller(rate.count, larger(second, BURST_MIN));
}

static struct limit_policy *
policy_new(enum limit_scope scope, struct rate rate)
{
	struct limit_policy *policy = alloc_zero(sizeof(*policy));
	struct buf text = BUF_EMPTY;
	int64_t period_ns = rate.period_ms * NS_PER_MS;

	policy->set = rate;
	if (rate.count == 0 ||
	    !gcra_rate_make(rate.count, period_ns, burst_of(rate), &policy->rate)) {
		policy->set.count = 0;
		return policy;
	}
	int64_t interval_ns = policy->rate.interval_ns;
	policy->burst_ns = policy->rate.burst * interval_ns;
	policy->patience_ns = larger(interval_ns / PATIENCE, 1);
	policy->bar_max_ns = larger(interval_ns, smaller(period_ns, BAR_MAX_NS));
	units_format_rate(rate, &text);
	snprintf(policy->text, TEXT_SIZE, " ms (%s %.*s)\r\n", limit_scope_names[scope],
	    (int)buf_len(&text), buf_slice(&text).at);
	policy->text_len = strlen(policy->text);
	buf_free(&text);
	return policy;
}

static void
publish(struct limits *limits, enum limit_scope scope, struct rate rate)
{
	struct limit_policy *policy = policy_new(scope, rate);

	policy->older = atomic_load(&limits->policies[scope]);
	atomic_store(&limits->policies[scope], policy);
}

static const struct limit_policy *
policy_of(const struct limits *limits, enum limit_scope scope)
{
	return atomic_load_explicit(&((struct limits *)limits)->policies[scope],
	    memory_order_acquire);
}

struct limits *
limits_new(void)
{
	struct limits *limits = aligned_alloc(LINE_BYTES, sizeof(*limits));
	struct rate off = { 0, 0 };

	if (limits == NULL)
		abort();
	memset(limits, 0, sizeof(*limits));
	for (size_t i = 0; i < LIMIT_SCOPES; i++) {
		table_init(&limits->tables[i], bucket_counts[i]);
		publish(limits, (enum limit_scope)i, off);
	}
	return limits;
}

void
limits_free(struct limits *limits)
{
	if (limits == NULL)
		return;
	for (size_t i = 0; i < LIMIT_SCOPES; i++) {
		struct limit_policy *policy = atomic_load(&limits->policies[i]), *older;
		for (; policy != NULL; policy = older) {
			older = policy->older;
			free(policy);
		}
		table_end(&limits->tables[i]);
	}
	free(limits);
}

void
limits_set(struct limits *limits, struct rate per_user, struct rate per_ip)
{
	publish(limits, LIMIT_PER_USER, per_user);
	publish(limits, LIMIT_PER_IP, per_ip);
}

struct rate
limits_rate(const struct limits *limits, enum limit_scope scope)
{
	return policy_of(limits, scope)->set;
}

bool
limits_is_on(const struct limits *limits, enum limit_scope scope)
{
	return policy_of(limits, scope)->set.count != 0;
}

/* ---- places ---- */

/* From then on it is as if it had never asked. */
static int64_t
free_at_ns(const struct limit_entry *entry)
{
	return larger(larger(entry->answers.full_ns, entry->refusals_full_ns),
	    entry->barred_until_ns);
}

/* Forgetting the one before gives nobody a new burst; one request is left to
 * the newcomer in any case. */
static void
take_over(struct limit_entry *entry, const struct gcra_rate *rate, int64_t now_ns)
{
	struct gcra_answer answer;

	entry->refusals_full_ns = entry->barred_until_ns = 0;
	if (entry->answers.full_ns <= now_ns) {
		entry->answers = (struct gcra){ 0 };
		return;
	}
	gcra_take(&entry->answers, rate, 0, now_ns, &answer);
	if (answer.left == 0)
		gcra_take(&entry->answers, rate, -1, now_ns, &answer);
}

static size_t
find_place(struct limit_bucket *bucket, uint64_t who, const struct gcra_rate *rate, int64_t now_ns)
{
	size_t soonest = 0;

	for (size_t i = 0; i < PLACES; i++) {
		if (bucket->who[i] == who)
			return i;
	}
	for (size_t i = 1; i < PLACES; i++) {
		if (free_at_ns(&bucket->entries[i]) < free_at_ns(&bucket->entries[soonest]))
			soonest = i;
	}
	bucket->who[soonest] = who;
	bucket->offences[soonest] = 0;
	take_over(&bucket->entries[soonest], rate, now_ns);
	return soonest;
}

static struct limit_bucket *
lock_bucket(struct limit_table *table, uint64_t who, pthread_mutex_t **mutex)
{
	size_t index = who % table->count;

	*mutex = &table->locks[index % LOCKS].mutex;
	pthread_mutex_lock(*mutex);
	return &table->buckets[index];
}

/* ---- deciding ---- */

/* Counts a refusal, and bars who has had too many of them. */
static void
note_refusal(const struct limit_policy *policy, struct limit_entry *entry, uint8_t *offences,
    int64_t now_ns)
{
	int64_t unused;

	if (entry->refusals_full_ns <= now_ns)
		*offences = 0;
	if (gcra_take_one(&entry->refusals_full_ns, policy->patience_ns, policy->burst_ns, now_ns,
		&unused) ||
	    now_ns < entry->barred_until_ns)
		return;
	int64_t bar_ns = policy->rate.interval_ns;
	for (int i = 0; i <= *offences && bar_ns < policy->bar_max_ns; i++)
		bar_ns *= 2;
	*offences += *offences < UINT8_MAX;
	entry->barred_until_ns = now_ns + smaller(bar_ns, policy->bar_max_ns);
}

/* Under another rate it has offended nobody. */
static void
adapt(const struct limit_policy *policy, struct limit_entry *entry, uint8_t *offences,
    int64_t now_ns)
{
	struct gcra_answer answer;

	entry->refusals_full_ns = entry->barred_until_ns = *offences = 0;
	gcra_take(&entry->answers, &policy->rate, 0, now_ns, &answer);
}

static bool
decide(const struct limit_policy *policy, struct limit_entry *entry, uint8_t *offences,
    int64_t now_ns, int64_t *retry_ns)
{
	if (entry->answers.interval_ns != policy->rate.interval_ns)
		adapt(policy, entry, offences, now_ns);
	*retry_ns = 0;
	if (now_ns >= entry->barred_until_ns &&
	    gcra_take_one(&entry->answers.full_ns, policy->rate.interval_ns, policy->burst_ns,
		now_ns, retry_ns))
		return true;
	note_refusal(policy, entry, offences, now_ns);
	*retry_ns = larger(*retry_ns, entry->barred_until_ns - now_ns);
	return false;
}

bool
limits_allow(struct limits *limits, enum limit_scope scope, uint64_t who, int64_t now_ns,
    int64_t *retry_ns)
{
	const struct limit_policy *policy = policy_of(limits, scope);
	pthread_mutex_t *mutex;

	if (policy->set.count == 0)
		return true;
	struct limit_bucket *bucket = lock_bucket(&limits->tables[scope], who, &mutex);
	size_t i = find_place(bucket, who, &policy->rate, now_ns);
	bool is_allowed =
	    decide(policy, &bucket->entries[i], &bucket->offences[i], now_ns, retry_ns);
	pthread_mutex_unlock(mutex);
	return is_allowed;
}

void
limits_throttle(struct limits *limits, uint64_t who, const struct gcra_rate *rate, int64_t quantity,
    int64_t now_ns, struct gcra_answer *answer)
{
	pthread_mutex_t *mutex;
	struct limit_bucket *bucket = lock_bucket(&limits->tables[LIMIT_THROTTLE], who, &mutex);
	size_t i = find_place(bucket, who, rate, now_ns);

	gcra_take(&bucket->entries[i].answers, rate, quantity, now_ns, answer);
	pthread_mutex_unlock(mutex);
}

/* ---- saying no ---- */

/* Without printf: to say no is to be cheaper than to answer. */
void
limits_refuse(const struct limits *limits, enum limit_scope scope, int64_t retry_ns,
    struct buf *out)
{
	static const char start[] = "-RATELIMITED retry in ";
	const struct limit_policy *policy = policy_of(limits, scope);
	uint64_t ms = retry_ns > 0 ? (uint64_t)(retry_ns + NS_PER_MS - 1) / NS_PER_MS : 1;
	char digits[24], *at = digits + sizeof(digits);

	for (; ms > 0; ms /= 10)
		*--at = (char)('0' + ms % 10);
	size_t len = (size_t)(digits + sizeof(digits) - at);
	char *to = buf_reserve(out, sizeof(start) + sizeof(digits) + TEXT_SIZE);
	memcpy(to, start, sizeof(start) - 1);
	memcpy(to + sizeof(start) - 1, at, len);
	memcpy(to + sizeof(start) - 1 + len, policy->text, policy->text_len);
	buf_added(out, sizeof(start) - 1 + len + policy->text_len);
}
