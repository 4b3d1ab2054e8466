#include "base/deadlines.h"

#include <event2/event.h>

#include "../test.h"
#include "base/clock.h"

#define COUNT 20

static struct event_base *base;
static struct deadlines *queue;
static struct deadline all[COUNT];
static int order[COUNT * 2], ended;
static int64_t earliest_ms; /* by how much one came too early; 0: none did */

static void
note(struct deadline *deadline)
{
	CHECK_INT(deadline->place, 0); /* taken off before */
	order[ended++] = (int)(deadline - all);
}

static void
start(void)
{
	base = event_base_new();
	queue = deadlines_new(base);
	memset(all, 0, sizeof(all));
	ended = 0;
	earliest_ms = 0;
	for (int i = 0; i < COUNT; i++)
		all[i].on_due = note;
}

static void
stop(void)
{
	deadlines_free(queue);
	event_base_free(base);
}

/* Until so many have ended, or nothing can any more. */
static void
run_until(int count)
{
	while (ended < count && event_base_loop(base, EVLOOP_ONCE) == 0)
		;
	CHECK_INT(ended, count);
}

TEST(what_is_due_earlier_ends_earlier)
{
	int64_t now_ms = clock_mono_ms();
	start();
	deadlines_add(queue, &all[0], now_ms + 30);
	deadlines_add(queue, &all[1], now_ms + 10);
	deadlines_add(queue, &all[2], now_ms + 20);
	deadlines_add(queue, &all[3], now_ms + 40);
	run_until(4);
	CHECK(clock_mono_ms() >= now_ms + 40);
	CHECK(order[0] == 1 && order[1] == 2 && order[2] == 0 && order[3] == 3);
	stop();
}

static bool
ended_once(int which)
{
	int times = 0;

	for (int i = 0; i < ended; i++)
		times += order[i] == which;
	return times == 1;
}

TEST(all_of_the_same_moment_end)
{
	int64_t now_ms = clock_mono_ms();
	start();
	for (int i = 0; i < COUNT; i++)
		deadlines_add(queue, &all[i], now_ms + 5);
	run_until(COUNT);
	for (int i = 0; i < COUNT; i++)
		CHECK(ended_once(i));
	stop();
}

TEST(nothing_ends_inside_the_call_that_adds_it_though_it_is_past)
{
	start();
	deadlines_add(queue, &all[0], clock_mono_ms() - 1000);
	CHECK_INT(ended, 0);
	run_until(1);
	stop();
}

static void
note_when(struct deadline *deadline)
{
	int64_t early_ms = (int64_t)(deadline - all) + earliest_ms - clock_mono_ms();

	CHECK(early_ms <= 0);
	note(deadline);
}

TEST(nothing_ends_too_early)
{
	start();
	earliest_ms = clock_mono_ms();
	for (int i = COUNT - 1; i >= 0; i--) {
		all[i].on_due = note_when;
		deadlines_add(queue, &all[i], earliest_ms + i);
	}
	run_until(COUNT);
	stop();
}

TEST(what_was_removed_never_ends)
{
	int64_t now_ms = clock_mono_ms();
	start();
	for (int i = 0; i < 5; i++)
		deadlines_add(queue, &all[i], now_ms + i);
	deadlines_remove(queue, &all[0]); /* the first, which the timer is set for */
	deadlines_remove(queue, &all[2]);
	deadlines_remove(queue, &all[4]);
	deadlines_remove(queue, &all[4]); /* twice is once */
	deadlines_remove(queue, &all[9]); /* never added */
	run_until(2);
	CHECK(order[0] == 1 && order[1] == 3);
	CHECK_INT(event_base_loop(base, EVLOOP_NONBLOCK), 1); /* no timer is left */
	stop();
}

static void
remove_the_next(struct deadline *deadline)
{
	note(deadline);
	deadlines_remove(queue, deadline + 1);
}

TEST(one_that_is_due_may_remove_another_that_is_due)
{
	int64_t now_ms = clock_mono_ms();
	start();
	all[0].on_due = remove_the_next;
	for (int i = 0; i < 3; i++)
		deadlines_add(queue, &all[i], now_ms - 1);
	run_until(2);
	CHECK(order[0] == 0 && order[1] == 2);
	stop();
}

static void
add_again(struct deadline *deadline)
{
	note(deadline);
	if (ended < 5)
		deadlines_add(queue, deadline, clock_mono_ms() + 2);
}

TEST(one_that_is_due_may_be_added_again)
{
	start();
	all[0].on_due = add_again;
	deadlines_add(queue, &all[0], clock_mono_ms() + 2);
	run_until(5);
	stop();
}

TEST(an_earlier_one_does_not_wait_for_a_later_one_added_before)
{
	int64_t now_ms = clock_mono_ms();
	start();
	deadlines_add(queue, &all[0], now_ms + 60000);
	deadlines_add(queue, &all[1], now_ms + 5);
	run_until(1);
	CHECK_INT(order[0], 1);
	CHECK(clock_mono_ms() < now_ms + 5000);
	deadlines_remove(queue, &all[0]);
	stop();
}

/* Many more than the first room, added and removed in any order. */
static struct deadline crowd[3000];
static int64_t last_due_ms;
static int crowd_ended;

static void
note_in_crowd(struct deadline *deadline)
{
	CHECK(deadline->due_ms >= last_due_ms);
	CHECK(deadline->due_ms <= clock_mono_ms());
	last_due_ms = deadline->due_ms;
	crowd_ended++;
}

TEST(three_thousand_added_and_removed_at_random_end_in_their_order)
{
	int64_t now_ms = clock_mono_ms();
	unsigned random = 9;
	int queued = 0;
	start();
	memset(crowd, 0, sizeof(crowd));
	last_due_ms = crowd_ended = 0;
	for (int step = 0; step < 12000; step++) {
		random = random * 1103515245 + 12345;
		struct deadline *one = &crowd[(random >> 16) % 3000];
		one->on_due = note_in_crowd;
		if (one->place == 0)
			deadlines_add(queue, one, now_ms + (random >> 8) % 200);
		else
			deadlines_remove(queue, one);
	}
	for (int i = 0; i < 3000; i++)
		queued += crowd[i].place != 0;
	CHECK(queued > 1000);
	while (crowd_ended < queued && event_base_loop(base, EVLOOP_ONCE) == 0)
		;
	CHECK_INT(crowd_ended, queued);
	stop();
}

TEST(freeing_nothing_is_fine)
{
	deadlines_free(NULL);
}

TEST_MAIN
