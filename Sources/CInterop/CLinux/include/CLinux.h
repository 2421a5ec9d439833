// What Swift's Glibc module does not import from Linux: namespaces, epoll(7), socket diagnostics (sock_diag(7)).

#ifndef SAMD_LINUX_H
#define SAMD_LINUX_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/nsfs.h>
#include <linux/sock_diag.h>
#include <sched.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/vfs.h>

/// Moves the calling thread into a network namespace. The kind is named on purpose: a sandbox that allows network
/// namespaces alone (RestrictNamespaces=net) refuses setns(fd, 0).
static inline int samd_enter_network_namespace(int descriptor) {
    return setns(descriptor, CLONE_NEWNET);
}

/// Whether a descriptor is a network namespace: a file of nsfs (its f_type is in linux/magic.h) of that kind.
static inline int samd_is_network_namespace(int descriptor) {
    struct statfs status;
    return fstatfs(descriptor, &status) == 0 && (unsigned long)status.f_type == 0x6e736673ul
        && ioctl(descriptor, NS_GET_NSTYPE) == CLONE_NEWNET;
}

static inline int samd_epoll_add(int epoll, int descriptor, uint32_t events, uint64_t token) {
    struct epoll_event event = {.events = events, .data = {.u64 = token}};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event);
}

/// Edge-triggered, both directions, once and for all: nothing is ever changed about it.
static const uint32_t samd_epoll_stream = EPOLLIN | EPOLLOUT | EPOLLRDHUP | (uint32_t)EPOLLET;
static const uint32_t samd_epoll_listener = EPOLLIN | (uint32_t)EPOLLET;

/// The user who called connect(2) or listen(2) on the other end of a unix socket (unix(7), SO_PEERCRED).
static inline int samd_peer_uid(int descriptor, uint32_t *uid) {
    struct ucred credentials;
    socklen_t length = sizeof credentials;
    int result = getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length);
    if (result == 0) *uid = credentials.uid;
    return result;
}

#endif
