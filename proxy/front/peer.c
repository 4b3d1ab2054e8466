/* See peer.h. */
#include "front/peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

struct peer
peer_from(const struct sockaddr_storage *from)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)from;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;
	struct peer peer = { .kind = PEER_UNIX, .is_local = true };

	if (from->ss_family == AF_INET6) {
		peer.kind = PEER_V6;
		peer.port = ntohs(in6->sin6_port);
		memcpy(peer.ip, &in6->sin6_addr, 16);
		peer.is_local = IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) ||
		    (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) && peer.ip[12] == 127);
	} else if (from->ss_family == AF_INET) {
		peer.kind = PEER_V4;
		peer.port = ntohs(in->sin_port);
		memcpy(peer.ip, &in->sin_addr, 4);
		peer.is_local = peer.ip[0] == 127;
	}
	return peer;
}

void
peer_text(const struct peer *peer, char text[PEER_TEXT])
{
	char host[INET6_ADDRSTRLEN] = "";

	if (peer->kind != PEER_UNIX)
		inet_ntop(peer->kind == PEER_V6 ? AF_INET6 : AF_INET, peer->ip, host, sizeof(host));
	if (peer->kind == PEER_UNIX)
		snprintf(text, PEER_TEXT, "unix:0");
	else
		snprintf(text, PEER_TEXT, peer->kind == PEER_V6 ? "[%s]:%d" : "%s:%d", host,
		    peer->port);
}
