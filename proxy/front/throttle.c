/* See throttle.h. Texts are those of redis-cell 0.3. */
#include "front/throttle.h"

#include "base/clock.h"
#include "base/hash.h"
#include "ladder/limits.h"
#include "wire/reply.h"

#define NS_PER_S INT64_C(1000000000)
#define WORDS_MIN 5 /* the quantity is one more */
#define NUMBERS_MAX 4
#define SHOWN_BYTES 64

enum { MAX_BURST, COUNT, PERIOD, QUANTITY };

/* False: the error is written. */
static bool
read_numbers(struct buf *out, const struct slice *words, size_t count, int64_t numbers[NUMBERS_MAX])
{
	numbers[QUANTITY] = 1;
	for (size_t i = 0; i < count; i++) {
		if (slice_to_int64(words[i], &numbers[i]))
			continue;
		int shown = words[i].len < SHOWN_BYTES ? (int)words[i].len : SHOWN_BYTES;
		reply_error(out, "Cell error: Couldn't parse as integer: %.*s", shown, words[i].at);
		return false;
	}
	return true;
}

static bool
read_rate(const int64_t numbers[NUMBERS_MAX], struct gcra_rate *rate)
{
	return numbers[PERIOD] > 0 && numbers[PERIOD] <= INT64_MAX / NS_PER_S &&
	    numbers[MAX_BURST] >= 0 && numbers[MAX_BURST] < INT64_MAX &&
	    gcra_rate_make(numbers[COUNT], numbers[PERIOD] * NS_PER_S, numbers[MAX_BURST] + 1,
		rate);
}

static int64_t
seconds_up(int64_t ns)
{
	return ns < 0 ? -1 : ns / NS_PER_S + (ns % NS_PER_S > 0);
}

void
throttle_handle(struct client *client, struct buf *out, const struct slice *argv, size_t argc)
{
	struct limits *limits = front_ladder(client_front(client))->backends->limits;
	int64_t numbers[NUMBERS_MAX];
	struct gcra_answer answer;
	struct gcra_rate rate;

	if (argc != WORDS_MIN && argc != WORDS_MIN + 1) {
		reply_error(out,
		    "Cell error: Usage: cl.throttle <key> <max_burst> <count per period> "
		    "<period> [<quantity>]");
		return;
	}
	if (!read_numbers(out, argv + 2, argc - 2, numbers))
		return;
	if (!read_rate(numbers, &rate)) {
		reply_error(out,
		    "Cell error: max_burst must be 0 or more, count and period 1 or more, and "
		    "the burst worth less than a hundred years");
		return;
	}
	limits_throttle(limits, hash_bytes(argv[1]), &rate, numbers[QUANTITY], clock_mono_ns(),
	    &answer);
	if (!answer.is_allowed)
		counter_add(&front_metrics(client_front(client))->limited[LIMIT_THROTTLE], 1);
	reply_array(out, 5);
	reply_integer(out, !answer.is_allowed);
	reply_integer(out, rate.burst);
	reply_integer(out, answer.left);
	reply_integer(out, seconds_up(answer.retry_ns));
	reply_integer(out, seconds_up(answer.reset_ns));
}
