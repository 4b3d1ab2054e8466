/*
 * Settings for people: --print-config, the reference in sidecar.ini(5), and what
 * a reload has changed.
 */
#include <stdlib.h>

#include "base/settings_entries.h"
#include "base/settings_value.h"

#define INDENT "    "

/* One key as it is printed. */
struct shown {
	const struct settings *settings;
	const struct setting *row;
	const struct setting_entry *entry;
	struct slice value; /* masked */
};

/* Whether inih would read a line of a value as it stands. */
static bool
line_reads_back(struct slice line, bool is_first)
{
	size_t blanks = 0;

	if (line.len == 0)
		return is_first;
	if (settings_is_blank(line.at[0]) || settings_is_blank(line.at[line.len - 1]))
		return false;
	if (!is_first && (line.at[0] == ';' || line.at[0] == '#'))
		return false;
	for (size_t i = 1; i < line.len; i++) {
		if (line.at[i] == ';' && settings_is_blank(line.at[i - 1]))
			return false;
		blanks = settings_is_blank(line.at[i]) ? blanks + 1 : 0;
		if (blanks > 100)
			return false;
	}
	return true;
}

static struct slice
take_line(struct slice *text)
{
	const char *end = text->len > 0 ? memchr(text->at, '\n', text->len) : NULL;
	struct slice line = *text;

	if (end == NULL) {
		*text = SLICE_NONE;
		return line;
	}
	line.len = (size_t)(end - text->at);
	*text = slice_make(end + 1, text->len - line.len - 1);
	return line;
}

static bool
reads_back(struct slice value)
{
	bool is_first = true, is_fine = true;

	do {
		is_fine = line_reads_back(take_line(&value), is_first);
		is_first = false;
	} while (is_fine && value.at != NULL);
	return is_fine;
}

static bool
has_reference(struct slice value)
{
	return value.len > 0 && memmem(value.at, value.len, "${", 2) != NULL;
}

static void
print_origin(const struct shown *shown, FILE *out)
{
	const struct setting_entry *entry = shown->entry;
	char *file = slice_dup(slice_of(shown->settings->file));

	settings_one_line(file);
	if (entry->is_override)
		fputs("  ; -o", out);
	else if (entry->written != NULL)
		fprintf(out, "  ; %s:%d", file, entry->line);
	else
		fputs("  ; default", out);
	if (entry->variable != NULL)
		fprintf(out, ", from %s", entry->variable);
	fputc('\n', out);
	free(file);
}

static void
print_value(const struct shown *shown, struct slice value, FILE *out)
{
	struct slice line = take_line(&value);

	/* Behind a blank, ';' would begin a comment. */
	fprintf(out, "%s =%s%.*s", shown->row->key, line.len > 0 && line.at[0] != ';' ? " " : "",
	    (int)line.len, line.len > 0 ? line.at : "");
	print_origin(shown, out);
	while (value.at != NULL) {
		line = take_line(&value);
		fprintf(out, INDENT "%.*s\n", (int)line.len, line.at);
	}
}

static void
print_help(const struct shown *shown, FILE *out)
{
	const struct settings *settings = shown->settings;

	fprintf(out, "# %s", shown->row->help);
	if (shown->row == setting_find("server", "threads") && settings->server.threads == 0)
		fprintf(out, "; here %d", (int)settings->server.thread_count);
	fputc('\n', out);
}

/* What a variable held may be nothing that a file could say (" ;"); then
 * what was written in its place is printed. */
static void
print_key(const struct shown *shown, FILE *out)
{
	struct slice written = slice_of(shown->entry->written);
	bool is_secret = (shown->row->flags & (SETTING_SECRET | SETTING_URL)) != 0;

	print_help(shown, out);
	if (reads_back(shown->value) && !has_reference(shown->value))
		print_value(shown, shown->value, out);
	else if (!is_secret && has_reference(written) && reads_back(written))
		print_value(shown, written, out);
	else
		fprintf(out, "# %s: its value can only stand in a variable\n", shown->row->key);
}

static void
print_rows(const struct settings *settings, const struct setting *rows, size_t count,
    const struct setting_entry *entries, const void *owner, FILE *out)
{
	struct buf value = BUF_EMPTY;

	for (size_t i = 0; i < count; i++) {
		const char *section = rows[i].section;
		if (section != NULL && (i == 0 || strcmp(section, rows[i - 1].section) != 0))
			fprintf(out, "%s[%s]\n", i > 0 ? "\n" : "", section);
		buf_reset(&value);
		setting_format_masked(&rows[i], setting_field_of(&rows[i], owner), &value);
		struct slice text = buf_len(&value) > 0 ? buf_slice(&value) : SLICE_NONE;
		print_key(&(struct shown){ settings, &rows[i], &entries[i], text }, out);
	}
	buf_free(&value);
}

void
settings_print(const struct settings *settings, FILE *out)
{
	print_rows(settings, settings_table, settings_table_count, settings->entries, settings,
	    out);
	for (size_t i = 0; i < settings->map_count; i++) {
		const struct map_settings *map = &settings->maps[i];
		fprintf(out, "\n[map %s]\n", map->name);
		print_rows(settings, settings_map_table, settings_map_table_count, map->entries,
		    map, out);
	}
}

/* The reference. */

static void
print_cell(struct slice text, FILE *out)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] == '|')
			fputc('\\', out);
		fputc(text.at[i], out);
	}
}

static void
print_range(const struct setting *row, FILE *out)
{
	struct setting number = *row;
	struct buf range = BUF_EMPTY;

	if (row->min == 0 && row->max == 0) {
		fputs(" |", out);
		return;
	}
	if (row->kind == SETTING_RATE)
		number.kind = SETTING_INTEGER; /* the bounds are of its count */
	setting_format(&number, &row->min, &range);
	buf_append_slice(&range, SLICE(" to "));
	setting_format(&number, &row->max, &range);
	fprintf(out, " %.*s |", (int)buf_len(&range), buf_slice(&range).at);
	buf_free(&range);
}

static void
print_reference_rows(const struct setting *rows, size_t count, FILE *out)
{
	for (size_t i = 0; i < count; i++) {
		const struct setting *row = &rows[i];
		const char *section = row->section != NULL ? row->section : "map NAME";
		if (i == 0 || (row->section != NULL && strcmp(section, rows[i - 1].section) != 0))
			fprintf(out,
			    "\n### [%s]\n\n| key | default | range | reload | meaning |\n"
			    "|---|---|---|---|---|\n",
			    section);
		fprintf(out, "| `%s` |", row->key);
		if (row->fallback[0] != '\0')
			fprintf(out, " `%s`", row->fallback);
		fputs(" |", out);
		print_range(row, out);
		fprintf(out, " %s | ", (row->flags & SETTING_RELOADS) != 0 ? "yes" : "restart");
		print_cell(slice_of(row->help), out);
		fputs(" |\n", out);
	}
}

void
settings_print_reference(FILE *out)
{
	print_reference_rows(settings_table, settings_table_count, out);
	print_reference_rows(settings_map_table, settings_map_table_count, out);
}
