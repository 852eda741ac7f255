/* SPDX-License-Identifier: MIT
 *
 * O_EXCL decides who creates a file, so that two at once cannot overwrite each
 * other, and a link that waits at the name is not followed.
 */
#include "host/cli/cli_write.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static bool write_all(int fd, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t written = write(fd, text, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        text += written;
        length -= (size_t)written;
    }
    return fsync(fd) == 0;
}

bool cli_write_new(const char *path, const char *text, size_t length, bool *created,
                   struct neap_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    *created = fd >= 0;
    if (fd < 0 && errno == EEXIST)
        return true;
    if (fd < 0) {
        neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot create %s", path);
        return false;
    }
    bool good = write_all(fd, text, length);
    int problem = errno;
    if (close(fd) != 0 && good) {
        problem = errno;
        good = false;
    }
    if (!good) {
        unlink(path);
        *created = false;
        neap_error_errno(err, NEAP_ERR_FILE_IO, problem, "cannot write %s", path);
    }
    return good;
}
