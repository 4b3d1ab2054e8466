#include "run/notify.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "../test.h"

static struct sockaddr_un address;

TEST(a_path_is_taken_with_its_end)
{
	unsigned len = notify_address("/run/notify", &address);

	CHECK_INT(len, offsetof(struct sockaddr_un, sun_path) + sizeof("/run/notify"));
	CHECK_INT(address.sun_family, AF_UNIX);
	CHECK(strcmp(address.sun_path, "/run/notify") == 0);
}

TEST(an_abstract_name_begins_with_nul_and_has_no_end)
{
	unsigned len = notify_address("@some/where", &address);

	CHECK_INT(len, offsetof(struct sockaddr_un, sun_path) + strlen("@some/where"));
	CHECK(memcmp(address.sun_path, "\0some/where", strlen("@some/where")) == 0);
}

TEST(what_is_neither_is_refused)
{
	CHECK_INT(notify_address("", &address), 0);
	CHECK_INT(notify_address("@", &address), 0);
	CHECK_INT(notify_address("/", &address), 0);
	CHECK_INT(notify_address("run/notify", &address), 0);
	CHECK_INT(notify_address("vsock:2:1234", &address), 0);
}

TEST(a_name_of_full_length_leaves_room_for_its_end)
{
	char name[sizeof(address.sun_path) + 1];

	memset(name, 'a', sizeof(name));
	name[0] = '/';
	name[sizeof(name) - 1] = '\0';
	CHECK_INT(notify_address(name, &address), 0);
	name[sizeof(name) - 2] = '\0';
	CHECK_INT(notify_address(name, &address), sizeof(address));
}

TEST_MAIN
