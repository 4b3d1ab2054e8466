/*
 * recv() and send() without glibc's preparations for pthread_cancel(), which
 * cost a process with threads four atomic instructions a request. Nobody is
 * cancelled here. Errors are in errno; an end of file is no signal.
 */
#ifndef SIDECAR_BASE_SOCKET_IO_H
#define SIDECAR_BASE_SOCKET_IO_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline ssize_t
socket_recv(int fd, void *at, size_t size)
{
	return syscall(SYS_recvfrom, fd, at, size, 0, NULL, NULL);
}

static inline ssize_t
socket_send(int fd, const void *at, size_t len)
{
	return syscall(SYS_sendto, fd, at, len, MSG_NOSIGNAL, NULL, 0);
}

#endif
