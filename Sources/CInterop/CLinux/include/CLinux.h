// What Swift's Glibc module does not import from Linux: namespaces, epoll(7), socket diagnostics (sock_diag(7)).
//
// <sys/socket.h> and the like stay in the source file: what is included here belongs to this module in Swift's eyes,
// and users of Glibc alone would not find it any more.

#ifndef SAMD_LINUX_H
#define SAMD_LINUX_H

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

/// Moves the calling thread into a network namespace. The kind is named to the kernel on purpose: a sandbox that
/// allows network namespaces alone (RestrictNamespaces=net) refuses setns(fd, 0). 0, or -1 and errno.
int samd_enter_network_namespace(int descriptor);

/// Whether a descriptor is a file of nsfs that stands for a network namespace.
bool samd_is_network_namespace(int descriptor);

/// Adds a descriptor to an epoll. 0, or -1 and errno.
int samd_epoll_add(int epoll, int descriptor, uint32_t events, uint64_t token);

/// Edge-triggered, both directions, once and for all: nothing is ever changed about it.
static const uint32_t samd_epoll_stream = EPOLLIN | EPOLLOUT | EPOLLRDHUP | (uint32_t)EPOLLET;
static const uint32_t samd_epoll_listener = EPOLLIN | (uint32_t)EPOLLET;

/// The user who called connect(2) or listen(2) on the other end of a unix socket (unix(7), SO_PEERCRED). 0, or -1 and
/// errno.
int samd_peer_uid(int descriptor, uint32_t *uid);

/// A descriptor that becomes readable when the process ends (pidfd_open(2)), or -1 and errno.
int samd_pidfd_open(int pid);

#endif
