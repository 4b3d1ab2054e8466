#include "base/mailbox.h"

#include <event2/event.h>
#include <pthread.h>

#include "../test.h"

#define SENDERS 4
#define LETTERS 20000

struct note {
	struct letter letter; /* first */
	int sender, number;
};

static struct event_base *base;
static struct mailbox *mailbox;
static int seen[SENDERS], delivered;

static void
start(void)
{
	base = event_base_new();
	mailbox = mailbox_new(base);
	memset(seen, 0, sizeof(seen));
	delivered = 0;
}

static void
stop(void)
{
	mailbox_free(mailbox);
	event_base_free(base);
}

static void
deliver(struct letter *letter)
{
	struct note *note = (struct note *)letter;

	CHECK_INT(note->number, seen[note->sender]);
	seen[note->sender]++;
	delivered++;
	free(note); /* it is ours now */
}

static void
post(int sender, int number, void (*how)(struct letter *letter))
{
	struct note *note = malloc(sizeof(*note));

	*note = (struct note){ .sender = sender, .number = number };
	note->letter.deliver = how;
	mailbox_post(mailbox, &note->letter);
}

static void
run_until(int count)
{
	while (delivered < count && event_base_loop(base, EVLOOP_ONCE) == 0)
		;
	CHECK_INT(delivered, count);
}

TEST(letters_come_in_the_order_of_posting_from_a_later_turn)
{
	start();
	for (int i = 0; i < 10; i++)
		post(0, i, deliver);
	CHECK_INT(delivered, 0);
	run_until(10);
	stop();
}

static void
deliver_and_post(struct letter *letter)
{
	struct note *note = (struct note *)letter;
	int number = note->number, before = delivered;

	if (number < 5)
		post(0, number + 1, deliver_and_post);
	CHECK_INT(delivered, before); /* not inside the call */
	deliver(letter);
}

TEST(a_letter_may_bring_another)
{
	start();
	post(0, 0, deliver_and_post);
	run_until(6);
	stop();
}

TEST(what_was_not_delivered_is_when_the_mailbox_goes)
{
	start();
	post(0, 0, deliver_and_post);
	post(1, 0, deliver);
	stop();
	CHECK_INT(delivered, 7);
}

static bool
try_post(int number)
{
	struct note *note = malloc(sizeof(*note));

	*note = (struct note){ .sender = 0, .number = number };
	note->letter.deliver = deliver;
	bool is_taken = mailbox_try_post(mailbox, &note->letter);
	if (!is_taken)
		free(note);
	return is_taken;
}

TEST(a_closed_mailbox_has_delivered_all_and_takes_no_more)
{
	start();
	CHECK(try_post(0));
	post(0, 1, deliver_and_post); /* which brings four more */
	mailbox_close(mailbox);
	CHECK_INT(delivered, 6);
	CHECK(!try_post(6));
	stop();
	CHECK_INT(delivered, 6);
}

static void *
one_sender(void *arg)
{
	for (int i = 0; i < LETTERS; i++)
		post((int)(intptr_t)arg, i, deliver);
	return NULL;
}

TEST(letters_of_many_threads_all_come_each_threads_in_order)
{
	pthread_t senders[SENDERS];
	start();
	for (int i = 0; i < SENDERS; i++)
		pthread_create(&senders[i], NULL, one_sender, (void *)(intptr_t)i);
	run_until(SENDERS * LETTERS);
	for (int i = 0; i < SENDERS; i++) {
		pthread_join(senders[i], NULL);
		CHECK_INT(seen[i], LETTERS);
	}
	stop();
	mailbox_free(NULL);
}

/* Each waits for the other's letter before it writes the next: a wake that is
 * lost would end it. */
static struct mailbox *there;
static struct event_base *there_base;
static int bounces;

static void bounce_back(struct letter *letter);

static void
bounce_there(struct letter *letter)
{
	letter->deliver = bounce_back;
	mailbox_post(mailbox, letter);
}

static void
bounce_back(struct letter *letter)
{
	bounces++;
	letter->deliver = bounce_there;
	if (bounces < 3000)
		mailbox_post(there, letter);
	else
		event_base_loopbreak(base);
}

static void
end_loop(struct letter *letter)
{
	(void)letter;
	event_base_loopbreak(there_base);
}

static void *
one_loop(void *arg)
{
	event_base_dispatch(arg);
	return NULL;
}

TEST(no_wake_is_lost_between_two_loops)
{
	struct letter letter = { .deliver = bounce_there }, last = { .deliver = end_loop };
	pthread_t thread;
	start();
	there_base = event_base_new();
	there = mailbox_new(there_base);
	bounces = 0;
	pthread_create(&thread, NULL, one_loop, there_base);
	mailbox_post(there, &letter);
	event_base_dispatch(base);
	CHECK_INT(bounces, 3000);
	mailbox_post(there, &last);
	pthread_join(thread, NULL);
	mailbox_free(there);
	event_base_free(there_base);
	stop();
}

TEST_MAIN
