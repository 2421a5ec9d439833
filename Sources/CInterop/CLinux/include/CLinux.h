// What Swift's Glibc module does not import from Linux: namespaces, epoll(7), inotify(7), openat2(2), statx(2), socket
// diagnostics (sock_diag(7)).
//
// <sys/socket.h> and the like stay in the source file: what is included here belongs to this module in Swift's eyes,
// and users of Glibc alone would not find it any more.

#ifndef SAMD_LINUX_H
#define SAMD_LINUX_H

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/openat2.h>
#include <linux/sock_diag.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

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

/// What statx(2) says about a file.
struct samd_file_status {
    uint32_t mode;
    /// The mount's device, and for a device file the device that it is; as in stat(2), by gnu_dev_makedev(3).
    uint64_t device;
    uint64_t special_device;
    uint64_t inode;
    uint64_t size;
    /// Nanoseconds since the epoch.
    int64_t accessed;
    int64_t modified;
    int64_t changed;
    /// Something is mounted here, or would be by looking (STATX_ATTR_MOUNT_ROOT, STATX_ATTR_AUTOMOUNT).
    bool is_mount_point;
};

/// Looks at a file by what is cached of it (AT_STATX_DONT_SYNC), and mounts nothing (AT_NO_AUTOMOUNT). An empty path means the
/// descriptor itself. 0, or -1 and errno.
int samd_file_status(int folder, const char *path, bool follows_link, struct samd_file_status *status);

/// Opens a folder below another one for reading; never through a symbolic link, nor into another mount if `stays_on_mount`
/// (openat2(2), Linux 5.6). A descriptor, or -1 and errno.
int samd_open_folder(int folder, const char *path, bool stays_on_mount);

/// The next entries of a folder as getdents64(2) writes them. Bytes, 0 at the end, or -1 and errno.
int64_t samd_read_folder(int folder, void *buffer, uint32_t size);

/// openat2(2), Linux 5.6. `resolve` holds RESOLVE_ flags. A descriptor, or -1 and errno.
int samd_openat2(int folder, const char *path, uint64_t flags, uint64_t resolve);

/// Unmaps the program's own code from this process; what runs again is mapped again, a few pages at a time. What only ran
/// while it started stays out of the resident set. Bytes, or -1 and errno.
int64_t samd_forget_code(void);

#endif
