#include "run/arguments.h"

#include <unistd.h>

#include "../test.h"

static struct arguments arguments;

/* Runs the parser on these words, up to NULL, with its messages in a file
 * that said() reads. */
static bool
parse(char **words)
{
	int count = 0, saved = dup(STDERR_FILENO);

	while (words[count] != NULL)
		count++;
	arguments_free(&arguments);
	fflush(stderr);
	if (freopen("said", "w", stderr) == NULL)
		abort();
	bool is_fine = arguments_parse(&arguments, count, words);
	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	close(saved);
	return is_fine;
}

#define PARSE(...) parse((char *[]){ "sidecar", __VA_ARGS__ __VA_OPT__(, ) NULL })

static const char *
said(void)
{
	static char text[300];
	FILE *file = fopen("said", "r");

	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	return text;
}

static char dir[] = "/tmp/sidecar-test-XXXXXX";

__attribute__((constructor)) static void
enter_dir(void)
{
	if (mkdtemp(dir) == NULL || chdir(dir) != 0)
		abort();
}

__attribute__((destructor)) static void
leave_dir(void)
{
	arguments_free(&arguments);
	unlink("said");
	unlink("sidecar.ini");
	rmdir(dir);
}

TEST(no_words_at_all_mean_the_defaults)
{
	CHECK(PARSE());
	CHECK(arguments.file == NULL);
	CHECK_INT(arguments.override_count, 0);
	CHECK(!arguments.wants_check && !arguments.wants_print && !arguments.wants_help);
}

TEST(sidecar_ini_is_taken_where_it_is_there_and_no_other_is_named)
{
	fclose(fopen("sidecar.ini", "w"));
	CHECK(PARSE());
	CHECK_TEXT(arguments.file, "sidecar.ini");
	CHECK(PARSE("-c", "other.ini"));
	CHECK_TEXT(arguments.file, "other.ini");
	unlink("sidecar.ini");
}

TEST(options_are_kept_in_their_order)
{
	CHECK(PARSE("-o", "a.b=1", "--option", "c.d=2", "-oe.f=3", "--check", "--print-config"));
	CHECK_INT(arguments.override_count, 3);
	CHECK_TEXT(arguments.overrides[0].text, "a.b=1");
	CHECK_TEXT(arguments.overrides[1].text, "c.d=2");
	CHECK_TEXT(arguments.overrides[2].text, "e.f=3");
	CHECK(arguments.wants_check && arguments.wants_print);
	CHECK(PARSE("--config=x.ini", "-V"));
	CHECK_TEXT(arguments.file, "x.ini");
	CHECK(arguments.wants_version && !arguments.wants_check);
}

TEST(wrong_usage_is_refused_by_name)
{
	CHECK(!PARSE("-x"));
	CHECK_TEXT(said(), "sidecar: -x: no such option (see sidecar --help)\n");
	CHECK(!PARSE("--check", "-xh"));
	CHECK_TEXT(said(), "sidecar: -x: no such option (see sidecar --help)\n");
	CHECK(!PARSE("--frobnicate"));
	CHECK_TEXT(said(), "sidecar: --frobnicate: no such option (see sidecar --help)\n");
	CHECK(!PARSE("--check=yes"));
	CHECK_TEXT(said(), "sidecar: --check=yes: no such option (see sidecar --help)\n");
	CHECK(!PARSE("-c"));
	CHECK_TEXT(said(), "sidecar: -c: needs a value (see sidecar --help)\n");
	CHECK(!PARSE("-o", "a.b=1", "-o"));
	CHECK_TEXT(said(), "sidecar: -o: needs a value (see sidecar --help)\n");
	CHECK(!PARSE("-c", "a", "-c", "b"));
	CHECK_TEXT(said(), "sidecar: -c: given twice (see sidecar --help)\n");
	CHECK(!PARSE("sidecar.ini"));
	CHECK_TEXT(said(), "sidecar: sidecar.ini: is no option (see sidecar --help)\n");
}

TEST(help_names_every_option_and_exit_code)
{
	static const char *const wanted[] = { "-c, --config FILE", "-o, --option section.key=value",
		"--check", "--print-config", "-V, --version", "-h, --help", "\n  0  ", "\n  1  ",
		"\n  2  " };
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	arguments_print_help(out);
	fclose(out);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		CHECK(strstr(text, wanted[i]) != NULL);
		if (strstr(text, wanted[i]) == NULL)
			printf("  %s\n", wanted[i]);
	}
	free(text);
}

TEST_MAIN
