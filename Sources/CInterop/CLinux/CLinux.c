#include "CLinux.h"

#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

int samd_enter_network_namespace(int descriptor) { return setns(descriptor, CLONE_NEWNET); }

bool samd_is_network_namespace(int descriptor) {
    struct statfs status;
    // NSFS_MAGIC of linux/magic.h.
    return fstatfs(descriptor, &status) == 0 && (unsigned long)status.f_type == 0x6e736673ul
        && ioctl(descriptor, NS_GET_NSTYPE) == CLONE_NEWNET;
}

int samd_epoll_add(int epoll, int descriptor, uint32_t events, uint64_t token) {
    struct epoll_event event = {.events = events, .data = {.u64 = token}};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event);
}

int samd_peer_uid(int descriptor, uint32_t *uid) {
    struct ucred credentials;
    socklen_t length = sizeof credentials;
    int result = getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length);
    if (result == 0) *uid = credentials.uid;
    return result;
}

// glibc has a wrapper from 2.36 on; Ubuntu 22.04 has 2.35.
int samd_pidfd_open(int pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }
