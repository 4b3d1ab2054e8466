/*
 * What the tests of the way to Redis share: a real redis-server on a free
 * port, killed with the test whatever happens to it; servers that lie, driven
 * by the test's own event loop; certificates of any quality.
 */
#ifndef SIDECAR_TESTS_REDIS_WORLD_H
#define SIDECAR_TESTS_REDIS_WORLD_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "../test.h"
#include "base/clock.h"
#include "upstream/redis_target.h"
#include "upstream/resolve.h"

#define MAYBE_UNUSED __attribute__((unused))

static struct event_base *base;
static char world_dir[] = "/tmp/sidecar-test-XXXXXX";

static MAYBE_UNUSED void
remove_world(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", world_dir);
	if (system(command) != 0)
		printf("left behind: %s\n", world_dir);
}

static MAYBE_UNUSED const char *
in_world(char path[96], const char *name)
{
	if (strcmp(world_dir + strlen(world_dir) - 6, "XXXXXX") == 0) {
		if (mkdtemp(world_dir) == NULL)
			abort();
		atexit(remove_world);
	}
	snprintf(path, 96, "%s/%s", world_dir, name);
	return path;
}

static MAYBE_UNUSED bool
true_after(const bool *flag, int64_t wait_ms)
{
	int64_t until = clock_mono_ms() + wait_ms;

	while (!*flag && clock_mono_ms() < until) {
		struct timeval tick = { 0, 5000 };

		event_base_loopexit(base, &tick);
		event_base_loop(base, EVLOOP_ONCE);
	}
	return *flag;
}

static MAYBE_UNUSED void
run_for(int64_t wait_ms)
{
	bool never = false;

	true_after(&never, wait_ms);
}

/* A socket bound to a free port of the loopback address. */
static MAYBE_UNUSED int
bind_free(int *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &len) != 0)
		abort();
	*port = ntohs(address.sin_port);
	return fd;
}

static MAYBE_UNUSED int
listen_free(int *port)
{
	int fd = bind_free(port);

	if (listen(fd, 64) != 0)
		abort();
	return fd;
}

/* A port that refuses connections, until redis-server listens there: it stays
 * bound, so that no test that runs beside this one is given it, too. */
static MAYBE_UNUSED int
free_port(void)
{
	int port, on = 1, fd = bind_free(&port);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	return port;
}

static MAYBE_UNUSED bool
connects(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool is_up;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	is_up = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
	close(fd);
	return is_up;
}

/* Starts redis-server; `port` is what answers when it is up. */
static MAYBE_UNUSED pid_t
start_redis(int port, const char *const *options)
{
	char path[96];
	const char *args[40] = { "redis-server", "--save", "", "--bind", "127.0.0.1", "--dir",
		in_world(path, ""), "--daemonize", "no", "--loglevel", "warning" };
	int count = 11;
	pid_t pid;

	while (*options != NULL)
		args[count++] = *options++;
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(null, 1);
		dup2(null, 2);
		execvp(args[0], (char *const *)args);
		_exit(127);
	}
	for (int i = 0; i < 1000 && !connects(port); i++)
		usleep(5000);
	return pid;
}

static MAYBE_UNUSED pid_t
start_plain_redis(int port, const char *password)
{
	char number[8];
	const char *options[] = { "--port", number, password != NULL ? "--requirepass" : NULL,
		password, NULL };

	snprintf(number, sizeof(number), "%d", port);
	return start_redis(port, options);
}

static MAYBE_UNUSED void
stop_redis(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* A server that the test plays itself: `on_bytes` gets what comes in. */
struct fake {
	int port;
	int listener;
	int accepted;
	int fd;       /* the newest connection; -1: none */
	bool is_deaf; /* reads nothing */
	void (*on_bytes)(struct fake *fake, const char *bytes, size_t len);
	int commands; /* for on_bytes to count with */
	struct event *accepts, *reads;
};

static MAYBE_UNUSED void
fake_hang_up(struct fake *fake)
{
	if (fake->reads != NULL)
		event_free(fake->reads);
	fake->reads = NULL;
	if (fake->fd >= 0)
		close(fake->fd);
	fake->fd = -1;
}

static MAYBE_UNUSED void
on_fake_bytes(evutil_socket_t fd, short what, void *arg)
{
	struct fake *fake = arg;
	char bytes[65536];
	ssize_t len;

	(void)what;
	if (fake->is_deaf)
		return;
	len = read(fd, bytes, sizeof(bytes));
	if (len <= 0)
		fake_hang_up(fake);
	else if (fake->on_bytes != NULL)
		fake->on_bytes(fake, bytes, (size_t)len);
}

static MAYBE_UNUSED void
on_fake_accept(evutil_socket_t fd, short what, void *arg)
{
	struct fake *fake = arg;

	(void)what;
	fake_hang_up(fake);
	fake->fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	fake->accepted++;
	fake->reads = event_new(base, fake->fd, EV_READ | EV_PERSIST, on_fake_bytes, fake);
	event_add(fake->reads, NULL);
}

static MAYBE_UNUSED void
fake_start(struct fake *fake, void (*on_bytes)(struct fake *, const char *, size_t))
{
	*fake = (struct fake){ .fd = -1, .on_bytes = on_bytes };
	fake->listener = listen_free(&fake->port);
	fake->accepts = event_new(base, fake->listener, EV_READ | EV_PERSIST, on_fake_accept, fake);
	event_add(fake->accepts, NULL);
}

static MAYBE_UNUSED void
fake_say(struct fake *fake, const char *text)
{
	if (write(fake->fd, text, strlen(text)) < 0)
		printf("the fake cannot write\n");
}

/* Closes with a reset. */
static MAYBE_UNUSED void
fake_reset(struct fake *fake)
{
	struct linger at_once = { 1, 0 };

	setsockopt(fake->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	fake_hang_up(fake);
}

static MAYBE_UNUSED void
fake_stop(struct fake *fake)
{
	fake_hang_up(fake);
	event_free(fake->accepts);
	close(fake->listener);
}

/* A certificate `name`.crt with its key `name`.key, signed by `issuer` (NULL:
 * by itself, an authority), valid until so many seconds from now. */
struct cert {
	X509 *x509;
	EVP_PKEY *key;
	char crt_path[96], key_path[96];
};

static MAYBE_UNUSED void
add_extension(X509 *x509, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	X509_add_ext(x509, extension, -1);
	X509_EXTENSION_free(extension);
}

static MAYBE_UNUSED struct cert
make_cert(const char *name, const char *alt_names, const struct cert *issuer, long valid_s)
{
	struct cert cert = { X509_new(), EVP_EC_gen("P-256"), "", "" };
	X509_NAME *subject = X509_get_subject_name(cert.x509);
	static long serial;
	char file[32];
	FILE *out;

	X509_set_version(cert.x509, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert.x509), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(cert.x509), -7200);
	X509_gmtime_adj(X509_getm_notAfter(cert.x509), valid_s);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1,
	    0);
	X509_set_issuer_name(cert.x509,
	    issuer != NULL ? X509_get_subject_name(issuer->x509) : subject);
	X509_set_pubkey(cert.x509, cert.key);
	add_extension(cert.x509, NID_basic_constraints,
	    issuer != NULL ? "critical,CA:FALSE" : "critical,CA:TRUE");
	if (alt_names != NULL)
		add_extension(cert.x509, NID_subject_alt_name, alt_names);
	X509_sign(cert.x509, issuer != NULL ? issuer->key : cert.key, EVP_sha256());

	snprintf(file, sizeof(file), "%s.crt", name);
	out = fopen(in_world(cert.crt_path, file), "w");
	PEM_write_X509(out, cert.x509);
	fclose(out);
	snprintf(file, sizeof(file), "%s.key", name);
	out = fopen(in_world(cert.key_path, file), "w");
	PEM_write_PrivateKey(out, cert.key, NULL, NULL, 0, NULL, NULL);
	fclose(out);
	return cert;
}

static MAYBE_UNUSED void
free_cert(struct cert *cert)
{
	X509_free(cert->x509);
	EVP_PKEY_free(cert->key);
}

__attribute__((format(printf, 2, 3))) static MAYBE_UNUSED struct redis_target *
target_of(const char *ca_file, const char *format, ...)
{
	char url[300], error[200];
	struct redis_target *target;
	va_list args;

	va_start(args, format);
	vsnprintf(url, sizeof(url), format, args);
	va_end(args);
	target = redis_target_new(url, NULL, ca_file, error, sizeof(error));
	if (target == NULL) {
		printf("%s: %s\n", url, error);
		abort();
	}
	return target;
}

#endif
