#include "CLinux.h"

#include <dirent.h>
#include <fcntl.h>
#include <link.h>
#include <linux/nsfs.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
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

// Whoever owns a file sets its times to anything: they wrap.
static int64_t nanoseconds(struct statx_timestamp time) {
    return (int64_t)((uint64_t)time.tv_sec * 1000000000u + time.tv_nsec);
}

int samd_file_status(int folder, const char *path, bool follows_link, struct samd_file_status *status) {
    struct statx found;
    int flags = AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC | (follows_link ? 0 : AT_SYMLINK_NOFOLLOW);
    if (statx(folder, path, flags, STATX_BASIC_STATS, &found) != 0) return -1;
    status->mode = found.stx_mode;
    status->device = makedev(found.stx_dev_major, found.stx_dev_minor);
    status->special_device = makedev(found.stx_rdev_major, found.stx_rdev_minor);
    status->inode = found.stx_ino;
    status->size = found.stx_size;
    status->accessed = nanoseconds(found.stx_atime);
    status->modified = nanoseconds(found.stx_mtime);
    status->changed = nanoseconds(found.stx_ctime);
    status->is_mount_point = (found.stx_attributes & (STATX_ATTR_MOUNT_ROOT | STATX_ATTR_AUTOMOUNT)) != 0;
    return 0;
}

int samd_open_folder(int folder, const char *path, bool stays_on_mount) {
    struct open_how how = {
        .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
        .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
            | (stays_on_mount ? RESOLVE_BENEATH | RESOLVE_NO_XDEV : 0),
    };
    return (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
}

int64_t samd_read_folder(int folder, void *buffer, uint32_t size) { return getdents64(folder, buffer, size); }

int samd_openat2(int folder, const char *path, uint64_t flags, uint64_t resolve) {
    struct open_how how = {.flags = flags, .resolve = resolve};
    return (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
}

// The first object that is visited is the program. Only what is executable and never written: dropping a page that was
// relocated would lose the relocation.
static int forget_code_of_program(struct dl_phdr_info *info, size_t size, void *forgotten) {
    (void)size;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (int index = 0; index < info->dlpi_phnum; index++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[index];
        if (segment->p_type != PT_LOAD || (segment->p_flags & (PF_X | PF_W)) != PF_X) continue;
        uintptr_t begin = (info->dlpi_addr + segment->p_vaddr) & ~(page - 1);
        uintptr_t end = (info->dlpi_addr + segment->p_vaddr + segment->p_memsz) & ~(page - 1);
        if (end <= begin || madvise((void *)begin, end - begin, MADV_DONTNEED) != 0) continue;
        *(int64_t *)forgotten += (int64_t)(end - begin);
    }
    return 1;
}

int64_t samd_forget_code(void) {
    int64_t forgotten = 0;
    dl_iterate_phdr(forget_code_of_program, &forgotten);
    return forgotten > 0 ? forgotten : -1;
}
