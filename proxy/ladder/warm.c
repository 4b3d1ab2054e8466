/* See warm.h. */
#include "ladder/warm.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "ladder/warm_inside.h"

#define LOOK_MS 200 /* how often to look whether Postgres is back */
#define LOG_EVERY_MS 30000

static const char *const names[] = {
	[WARM_OFF] = "off",
	[WARM_WAITING] = "waiting for postgres",
	[WARM_READING_IDS] = "reading ids",
	[WARM_LOADING] = "loading",
	[WARM_DONE] = "done",
	[WARM_GIVEN_UP] = "given up",
};

const char *
warm_state_name(enum warm_state state)
{
	return names[state];
}

/* ---- its life ---- */

struct warm *
warm_new(const struct settings *settings)
{
	struct warm *warm = alloc_zero(sizeof(*warm));
	bool is_off = settings->warm.query[0] == '\0';

	atomic_store(&warm->state, is_off ? WARM_OFF : WARM_WAITING);
	atomic_store(&warm->is_settled, is_off);
	return warm;
}

void
warm_free(struct warm *warm)
{
	if (warm == NULL)
		return;
	buf_free(&warm->query.ids);
	buf_free(&warm->key);
	free(warm);
}

void
warm_attach(struct warm *warm, struct ladder_context *context)
{
	warm->context = context;
}

bool
warm_is_settled(const struct warm *warm)
{
	return atomic_load(&((struct warm *)warm)->is_settled);
}

void
warm_progress(const struct warm *warm, struct warm_progress *progress)
{
	struct warm *w = (struct warm *)warm;

	progress->state = (enum warm_state)atomic_load(&w->state);
	progress->done = atomic_load(&w->done);
	progress->total = atomic_load(&w->total);
}

static void
with_commas(int64_t number, char text[32])
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%" PRId64, number);
	char *at = text;

	for (int i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			*at++ = ',';
		*at++ = digits[i];
	}
	*at = '\0';
}

void
warm_text(const struct warm_progress *progress, char *text, size_t size)
{
	char done[32], total[32];

	with_commas(progress->done, done);
	with_commas(progress->total, total);
	snprintf(text, size, "%s/%s", done, total);
}

/* ---- the end of a run ---- */

static void
on_told(struct letter *letter)
{
	struct warm_waiter *waiter = (struct warm_waiter *)letter;

	waiter->done(waiter, waiter->count, waiter->count < 0 ? waiter->problem : NULL);
}

/* `problem` NULL: the count is what it is about. */
static void
tell(struct warm *warm, struct warm_waiter *waiter, const char *problem)
{
	waiter->count = problem == NULL ? atomic_load(&warm->done) : -1;
	snprintf(waiter->problem, sizeof(waiter->problem), "%s", problem != NULL ? problem : "");
	waiter->letter.deliver = on_told;
	if (warm->is_ended)
		on_told(&waiter->letter); /* all threads have ended: this one is theirs */
	else
		mailbox_post(waiter->home, &waiter->letter);
}

static void
tell_all(struct warm *warm, const char *problem)
{
	while (warm->waiters != NULL) {
		struct warm_waiter *waiter = warm->waiters;
		warm->waiters = waiter->next;
		tell(warm, waiter, problem);
	}
}

static void
enter(struct warm *warm, enum warm_state after)
{
	atomic_store(&warm->state, (int)after);
	if (after != WARM_READING_IDS && after != WARM_LOADING) {
		atomic_store(&warm->is_settled, true);
		deadlines_remove(warm->context->deadlines, &warm->ready_by);
		buf_free(&warm->query.ids);
	}
}

void
warm_give_up(struct warm *warm, const char *problem)
{
	log_warn("warm-up given up: %s", problem);
	enter(warm, WARM_GIVEN_UP);
	tell_all(warm, problem);
}

void
warm_finish(struct warm *warm)
{
	struct warm_progress progress;
	char text[72];

	enter(warm, WARM_DONE);
	warm_progress(warm, &progress);
	warm_text(&progress, text, sizeof(text));
	log_info("warm-up %s in %" PRId64 " ms%s", text, clock_mono_ms() - warm->began_ms,
	    warm->is_full ? ": memory is full" : "");
	tell_all(warm, NULL);
}

void
warm_wait(struct warm *warm, const char *problem)
{
	if (log_throttle(&warm->waits_logged_ms, clock_mono_ms(), LOG_EVERY_MS))
		log_warn("warm-up waits for postgres, ready meanwhile: %s", problem);
	enter(warm, WARM_WAITING);
	tell_all(warm, problem);
	warm_look_in(warm, LOOK_MS);
}

/* ---- the ids ---- */

static void
on_ids(struct letter *letter)
{
	struct warm *warm = (struct warm *)((char *)letter - offsetof(struct warm, errand));
	char problem[sizeof(warm->query.reason) + 32];

	if (warm->is_ended)
		return;
	switch (warm->query.result) {
	case IDS_READ:
		warm->next_id = buf_slice(&warm->query.ids).at;
		warm->left = warm->query.count;
		atomic_store(&warm->done, 0);
		atomic_store(&warm->total, (int64_t)warm->left);
		enter(warm, WARM_LOADING);
		warm_load(warm);
		break;
	case IDS_REFUSED:
		snprintf(problem, sizeof(problem), "the query fails: %s", warm->query.reason);
		warm_give_up(warm, problem);
		break;
	case IDS_FAILED:
		warm_wait(warm, warm->query.reason);
		break;
	}
}

/* The keeper's thread, and the next. */
static void
on_ids_read(struct id_query *query)
{
	struct warm *warm = (struct warm *)((char *)query - offsetof(struct warm, query));

	warm->errand.deliver = on_ids;
	mailbox_post(warm->context->mailbox, &warm->errand);
}

static void
on_errand(struct letter *letter)
{
	struct warm *warm = (struct warm *)((char *)letter - offsetof(struct warm, errand));

	keeper_read_ids(warm->context->backends->keeper, &warm->query);
}

static const struct map *
find_map(const struct rules *rules)
{
	for (size_t i = 0; i < maps_count(rules->maps); i++) {
		const struct map *map = maps_at(rules->maps, i);
		if (strcmp(map->settings->name, rules->settings->warm.map) == 0)
			return map;
	}
	return NULL;
}

/* What stands against it, before anybody is asked; or NULL. */
static const char *
problem_of(const struct warm *warm)
{
	if (!warm->context->backends->has_postgres)
		return "no Postgres is configured";
	return warm->map == NULL ? "[warm] map names no map" : NULL;
}

static void
begin(struct warm *warm)
{
	struct ladder_context *context = warm->context;

	warm->rules = context->rules;
	warm->map = find_map(warm->rules);
	warm->began_ms = clock_mono_ms();
	warm->has_failures = warm->is_full = false;
	warm->link = (struct link_choice){ 2, links_next_index(context->links) };
	if (warm->rules->settings->warm.query[0] == '\0') { /* it may have gone with a reload */
		enter(warm, WARM_OFF);
		tell_all(warm, "none is configured ([warm] query)");
		return;
	}
	const char *problem = problem_of(warm);
	if (problem != NULL) {
		warm_give_up(warm, problem);
		return;
	}
	enter(warm, WARM_READING_IDS);
	warm->query.sql = warm->rules->settings->warm.query;
	warm->query.limit = warm->rules->settings->warm.limit;
	warm->query.budget_ms = WARM_QUERY_MS;
	warm->query.done = on_ids_read;
	warm->errand.next = NULL;
	warm->errand.deliver = on_errand;
	keeper_post_all(context->backends->keeper, &warm->errand);
}

static bool
is_under_way(const struct warm *warm)
{
	int state = atomic_load(&((struct warm *)warm)->state);

	return state == WARM_READING_IDS || state == WARM_LOADING;
}

static void
on_look(struct deadline *deadline)
{
	struct warm *warm = (struct warm *)((char *)deadline - offsetof(struct warm, look));

	if (is_under_way(warm))
		warm_load(warm);
	else if (backends_postgres_allows(warm->context->backends))
		begin(warm);
	else
		warm_look_in(warm, LOOK_MS);
}

void
warm_look_in(struct warm *warm, int64_t wait_ms)
{
	deadlines_remove(warm->context->deadlines, &warm->look);
	warm->look.on_due = on_look;
	deadlines_add(warm->context->deadlines, &warm->look, clock_mono_ms() + wait_ms);
}

/* ---- being asked for ---- */

static void
on_ready_due(struct deadline *deadline)
{
	struct warm *warm = (struct warm *)((char *)deadline - offsetof(struct warm, ready_by));

	log_warn("warm-up takes longer than [warm] wait, ready meanwhile");
	atomic_store(&warm->is_settled, true);
}

static void
on_start(struct letter *letter)
{
	struct warm *warm = (struct warm *)((char *)letter - offsetof(struct warm, start));

	int64_t wait_ms = warm->context->rules->settings->warm.wait_ms;

	if (warm->is_ended || atomic_load(&warm->state) == WARM_OFF)
		return;
	warm->ready_by.on_due = on_ready_due;
	deadlines_add(warm->context->deadlines, &warm->ready_by, clock_mono_ms() + wait_ms);
	begin(warm);
}

void
warm_start(struct warm *warm)
{
	warm->start.deliver = on_start;
	mailbox_post(warm->context->mailbox, &warm->start);
}

static void
on_asked(struct letter *letter)
{
	struct warm_waiter *waiter = (struct warm_waiter *)letter;
	struct warm *warm = waiter->warm;

	if (warm->is_ended) {
		tell(warm, waiter, "the sidecar stops");
		return;
	}
	waiter->next = warm->waiters;
	warm->waiters = waiter;
	if (!is_under_way(warm)) {
		deadlines_remove(warm->context->deadlines, &warm->look);
		begin(warm);
	}
}

void
warm_run(struct warm *warm, struct warm_waiter *waiter)
{
	waiter->warm = warm;
	waiter->letter.deliver = on_asked;
	mailbox_post(warm->context->mailbox, &waiter->letter);
}

void
warm_end(struct warm *warm)
{
	if (warm == NULL || warm->context == NULL)
		return;
	warm->is_ended = true;
	deadlines_remove(warm->context->deadlines, &warm->look);
	deadlines_remove(warm->context->deadlines, &warm->ready_by);
	tell_all(warm, "the sidecar stops");
}
