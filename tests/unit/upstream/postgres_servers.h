/*
 * A Postgres and a PgBouncer of the test's own, on free loopback ports, in a
 * folder under /tmp that goes when the test ends. Both refuse to run as root,
 * so root becomes `postgres`. The kernel kills them should the test die.
 */
#ifndef SIDECAR_TESTS_POSTGRES_SERVERS_H
#define SIDECAR_TESTS_POSTGRES_SERVERS_H

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct server {
	pid_t pid; /* 0: not running */
	int port;
};

static char servers_dir[64];
static char postgres_bin[256];
static struct server postgres_server, pgbouncer_server;

static inline void
sleep_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
	nanosleep(&t, NULL);
}

static inline int
free_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) != 0)
		abort();
	close(fd);
	return ntohs(a.sin_port);
}

static inline void
become_postgres(void)
{
	struct passwd *user = getpwnam("postgres");

	if (geteuid() == 0 &&
	    (user == NULL || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0))
		_exit(127);
}

/* Runs it in the servers' folder, its output in NAME.log. */
static inline pid_t
spawn(const char *name, const char *const *argv)
{
	pid_t parent = getpid(), pid = fork();

	if (pid != 0)
		return pid;
	become_postgres();
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* after setuid(), which clears it */
	if (getppid() != parent || chdir(servers_dir) != 0)
		_exit(127);
	char log[96];
	snprintf(log, sizeof(log), "%s/%s.log", servers_dir, name);
	int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
	dup2(open("/dev/null", O_RDONLY), 0);
	dup2(out, 1);
	dup2(out, 2);
	unsetenv("PGDATESTYLE"); /* ours; a server does not care, initdb might */
	unsetenv("PGTZ");
	execv(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

static inline bool
run(const char *name, const char *const *argv)
{
	int status = -1;

	return waitpid(spawn(name, argv), &status, 0) > 0 && WIFEXITED(status) &&
	    WEXITSTATUS(status) == 0;
}

__attribute__((format(printf, 2, 3))) static inline void
write_file(const char *name, const char *format, ...)
{
	char path[128];
	va_list args;

	snprintf(path, sizeof(path), "%s/%s", servers_dir, name);
	FILE *file = fopen(path, "w");
	va_start(args, format);
	vfprintf(file, format, args);
	va_end(args);
	fclose(file);
	chmod(path, 0644);
}

/* Signals a server and its children: Postgres has a process a connection. */
static inline void
signal_all(const struct server *server, int sig)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	kill(server->pid, sig);
	while ((entry = readdir(proc)) != NULL) {
		char path[300], line[512] = "";
		int ppid = -1;
		snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
		FILE *file = fopen(path, "r");
		if (file == NULL)
			continue;
		if (fgets(line, sizeof(line), file) != NULL && strrchr(line, ')') != NULL)
			(void)!sscanf(strrchr(line, ')') + 1, " %*c %d", &ppid);
		fclose(file);
		if (ppid == server->pid)
			kill(atoi(entry->d_name), sig);
	}
	closedir(proc);
}

static inline void
stop_server(struct server *server, int sig)
{
	if (server->pid == 0)
		return;
	if (sig == SIGKILL)
		signal_all(server, SIGKILL);
	signal_all(server, SIGCONT);
	kill(server->pid, sig);
	for (int i = 0; waitpid(server->pid, NULL, WNOHANG) == 0; i++) {
		if (i == 300)
			signal_all(server, SIGKILL);
		sleep_ms(10);
	}
	server->pid = 0;
}

/* One statement or more as the superuser, straight to Postgres; the first cell
 * of the last result, in a static buffer. */
__attribute__((format(printf, 1, 2))) static inline const char *
sql(const char *format, ...)
{
	static char answer[256];
	char text[4096], conninfo[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	snprintf(conninfo, sizeof(conninfo), "host=%s port=%d user=postgres dbname=postgres",
	    servers_dir, postgres_server.port);
	PGconn *pg = PQconnectdb(conninfo);
	PGresult *result = PQexec(pg, text);
	snprintf(answer, sizeof(answer), "%s", PQerrorMessage(pg));
	if (answer[0] == '\0' && PQntuples(result) > 0)
		snprintf(answer, sizeof(answer), "%s", PQgetvalue(result, 0, 0));
	PQclear(result);
	PQfinish(pg);
	return answer;
}

static inline bool
wait_for_server(const char *host, int port)
{
	char conninfo[256];

	snprintf(conninfo, sizeof(conninfo),
	    "host=%s port=%d user=app password=secret dbname=postgres connect_timeout=2", host,
	    port);
	for (int i = 0; i < 300; i++) {
		PGconn *pg = PQconnectdb(conninfo);
		bool is_up = PQstatus(pg) == CONNECTION_OK ||
		    strstr(PQerrorMessage(pg), "\"app\"") != NULL; /* not made yet */
		PQfinish(pg);
		if (is_up)
			return true;
		sleep_ms(20);
	}
	return false;
}

static inline bool
start_postgres(void)
{
	char program[300], data[96], port[16];

	snprintf(program, sizeof(program), "%s/postgres", postgres_bin);
	snprintf(data, sizeof(data), "%s/data", servers_dir);
	snprintf(port, sizeof(port), "%d", postgres_server.port);
	const char *const argv[] = { program, "-D", data, "-p", port, "-k", servers_dir, "-c",
		"listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=40", "-c",
		"max_wal_senders=0", "-c", "autovacuum=off", NULL };
	postgres_server.pid = spawn("postgres", argv);
	return wait_for_server(servers_dir, postgres_server.port);
}

static inline bool
start_pgbouncer(void)
{
	const char *const argv[] = { "/usr/sbin/pgbouncer", "pgbouncer.ini", NULL };

	write_file("users.txt", "\"app\" \"secret\"\n");
	write_file("pgbouncer.ini",
	    "[databases]\npostgres = host=127.0.0.1 port=%d\n"
	    "[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\n"
	    "auth_type = scram-sha-256\nauth_file = users.txt\npool_mode = transaction\n"
	    "default_pool_size = 4\nserver_login_retry = 1\nquery_wait_timeout = 120\n",
	    postgres_server.port, pgbouncer_server.port);
	pgbouncer_server.pid = spawn("pgbouncer", argv);
	return wait_for_server("127.0.0.1", pgbouncer_server.port);
}

static inline void
stop_servers(void)
{
	stop_server(&pgbouncer_server, SIGKILL);
	stop_server(&postgres_server, SIGQUIT);
	const char *const argv[] = { "/bin/rm", "-rf", "--", servers_dir, NULL };
	pid_t pid = fork();
	if (pid == 0) {
		execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

static inline bool
find_programs(void)
{
	glob_t found;
	bool is_there = glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) == 0;

	if (is_there) {
		snprintf(postgres_bin, sizeof(postgres_bin), "%s",
		    found.gl_pathv[found.gl_pathc - 1]);
		*strrchr(postgres_bin, '/') = '\0';
	}
	globfree(&found);
	return is_there && access("/usr/sbin/pgbouncer", X_OK) == 0 &&
	    (geteuid() != 0 || getpwnam("postgres") != NULL);
}

/* False when this machine cannot run them. */
static inline bool
start_servers(void)
{
	char initdb[300], data[96];

	if (!find_programs())
		return false;
	strcpy(servers_dir, "/tmp/sidecar-postgres-XXXXXX");
	if (mkdtemp(servers_dir) == NULL)
		return false;
	atexit(stop_servers);
	if (geteuid() == 0) {
		struct passwd *user = getpwnam("postgres");
		if (chown(servers_dir, user->pw_uid, user->pw_gid) != 0)
			return false;
	}
	snprintf(initdb, sizeof(initdb), "%s/initdb", postgres_bin);
	snprintf(data, sizeof(data), "%s/data", servers_dir);
	const char *const argv[] = { initdb, "-D", data, "-U", "postgres", "--auth-local=trust",
		"--auth-host=scram-sha-256", "-N", "-E", "UTF8", "--locale=C", NULL };
	postgres_server.port = free_port();
	pgbouncer_server.port = free_port();
	/* Defaults that would spoil ids and times, were they not overridden; before
	 * PgBouncer starts, which remembers what it finds. */
	return run("initdb", argv) && start_postgres() &&
	    sql("CREATE ROLE app LOGIN PASSWORD 'secret';"
		"ALTER ROLE app SET datestyle = 'German, DMY';"
		"ALTER ROLE app SET timezone = 'Asia/Tokyo';"
		"ALTER ROLE app SET client_encoding = 'LATIN1'")[0] == '\0' &&
	    start_pgbouncer();
}

#endif
