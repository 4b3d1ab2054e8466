/*
 * Finds rows of the settings table by name, and guesses which one a user
 * meant who wrote another name.
 */
#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "base/settings_table.h"

#define NAME_MAX_LEN 24 /* longer names than any of ours are near to none */

const struct setting *
setting_find(const char *section, const char *key)
{
	for (size_t i = 0; i < settings_table_count; i++) {
		const struct setting *row = &settings_table[i];
		if (strcmp(row->section, section) == 0 && strcmp(row->key, key) == 0)
			return row;
	}
	return NULL;
}

const struct setting *
setting_find_map(const char *key)
{
	for (size_t i = 0; i < settings_map_table_count; i++) {
		if (strcmp(settings_map_table[i].key, key) == 0)
			return &settings_map_table[i];
	}
	return NULL;
}

const char *
setting_find_section(const char *section)
{
	for (size_t i = 0; i < settings_table_count; i++) {
		if (strcmp(settings_table[i].section, section) == 0)
			return settings_table[i].section;
	}
	return NULL;
}

static int
lower(char c)
{
	return tolower((unsigned char)c);
}

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Letters added, left out, replaced or swapped with their neighbour (Damerau
 * and Levenshtein, restricted); either case is the same. */
static size_t
distance(const char *a, const char *b)
{
	size_t d[NAME_MAX_LEN + 1][NAME_MAX_LEN + 1];
	size_t a_len = strlen(a), b_len = strlen(b);

	if (a_len > NAME_MAX_LEN || b_len > NAME_MAX_LEN)
		return NAME_MAX_LEN;
	for (size_t i = 0; i <= a_len; i++)
		d[i][0] = i;
	for (size_t j = 0; j <= b_len; j++)
		d[0][j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		for (size_t j = 1; j <= b_len; j++) {
			size_t differs = lower(a[i - 1]) != lower(b[j - 1]);
			size_t best = least(d[i - 1][j], d[i][j - 1]) + 1;
			best = least(best, d[i - 1][j - 1] + differs);
			if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
			    lower(a[i - 2]) == lower(b[j - 1]))
				best = least(best, d[i - 2][j - 2] + 1);
			d[i][j] = best;
		}
	}
	return d[a_len][b_len];
}

struct guess {
	const char *name;
	size_t distance;
};

static void
consider(struct guess *guess, const char *written, const char *name)
{
	size_t d = distance(written, name);

	/* A third of the letters wrong is a typo, more is another word. */
	if (d * 3 <= strlen(name) + 1 && (guess->name == NULL || d < guess->distance))
		*guess = (struct guess){ name, d };
}

static const char *
write_guess(struct guess guess, char hint[SETTING_HINT_SIZE])
{
	if (guess.name == NULL)
		hint[0] = '\0';
	else
		snprintf(hint, SETTING_HINT_SIZE, " (did you mean %s?)", guess.name);
	return hint;
}

const char *
setting_hint_key(const char *section, const char *key, char hint[SETTING_HINT_SIZE])
{
	struct guess guess = { NULL, 0 };

	for (size_t i = 0; i < settings_table_count; i++) {
		if (strcmp(settings_table[i].section, section) == 0)
			consider(&guess, key, settings_table[i].key);
	}
	if (guess.name != NULL)
		return write_guess(guess, hint);
	for (size_t i = 0; i < settings_table_count; i++) {
		const struct setting *row = &settings_table[i];
		if (strcasecmp(row->key, key) == 0) {
			snprintf(hint, SETTING_HINT_SIZE, " (did you mean [%s] %s?)", row->section,
			    row->key);
			return hint;
		}
	}
	return write_guess(guess, hint);
}

const char *
setting_hint_map_key(const char *key, char hint[SETTING_HINT_SIZE])
{
	struct guess guess = { NULL, 0 };

	for (size_t i = 0; i < settings_map_table_count; i++)
		consider(&guess, key, settings_map_table[i].key);
	return write_guess(guess, hint);
}

const char *
setting_hint_section(const char *section, char hint[SETTING_HINT_SIZE])
{
	struct guess guess = { NULL, 0 };
	char word[NAME_MAX_LEN + 2];

	for (size_t i = 0; i < settings_table_count; i++)
		consider(&guess, section, settings_table[i].section);
	snprintf(word, sizeof(word), "%s", section);
	word[strcspn(word, " \t")] = '\0'; /* "[mpa profile]" */
	if (guess.name == NULL && distance(word, "map") <= 1)
		guess.name = "map NAME";
	return write_guess(guess, hint);
}
