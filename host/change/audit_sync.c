/* SPDX-License-Identifier: MIT
 *
 * The journal made durable beside the main thread: while the server is at a COMMIT
 * and the next unit is made ready. One sync at a time; whoever begins or ends one is
 * the main thread. The thread has a descriptor of its own for each, so that a segment
 * that is closed meanwhile is synced all the same.
 */
#include "host/change/audit_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/base/memory.h"

struct neap_audit_syncer {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int fd;     /* of the sync under way; -1: none */
    int errnum; /* of the first that failed: the last word on this journal */
    bool over;
};

static void *serve(void *arg)
{
    struct neap_audit_syncer *syncer = arg;
    pthread_mutex_lock(&syncer->lock);
    while (!syncer->over) {
        if (syncer->fd < 0) {
            pthread_cond_wait(&syncer->changed, &syncer->lock);
            continue;
        }
        int fd = syncer->fd;
        pthread_mutex_unlock(&syncer->lock);
        int errnum = fdatasync(fd) == 0 ? 0 : errno;
        close(fd);
        pthread_mutex_lock(&syncer->lock);
        if (syncer->errnum == 0)
            syncer->errnum = errnum;
        syncer->fd = -1;
        pthread_cond_signal(&syncer->changed);
    }
    pthread_mutex_unlock(&syncer->lock);
    return NULL;
}

static struct neap_audit_syncer *start(void)
{
    struct neap_audit_syncer *syncer = neap_alloc(sizeof *syncer);
    sigset_t all, before;
    syncer->fd = -1;
    pthread_mutex_init(&syncer->lock, NULL);
    pthread_cond_init(&syncer->changed, NULL);
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&syncer->thread, NULL, serve, syncer) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started)
        return syncer;
    pthread_cond_destroy(&syncer->changed);
    pthread_mutex_destroy(&syncer->lock);
    free(syncer);
    return NULL;
}

bool neap_audit_syncer_begin(struct neap_audit_syncer **syncer, int fd)
{
    if (*syncer == NULL)
        *syncer = start();
    int own = *syncer == NULL ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0)
        return false;
    neap_audit_syncer_end(*syncer);
    pthread_mutex_lock(&(*syncer)->lock);
    (*syncer)->fd = own;
    pthread_cond_signal(&(*syncer)->changed);
    pthread_mutex_unlock(&(*syncer)->lock);
    return true;
}

int neap_audit_syncer_end(struct neap_audit_syncer *syncer)
{
    if (syncer == NULL)
        return 0;
    pthread_mutex_lock(&syncer->lock);
    while (syncer->fd >= 0)
        pthread_cond_wait(&syncer->changed, &syncer->lock);
    int errnum = syncer->errnum;
    pthread_mutex_unlock(&syncer->lock);
    return errnum;
}

void neap_audit_syncer_free(struct neap_audit_syncer *syncer)
{
    if (syncer == NULL)
        return;
    neap_audit_syncer_end(syncer);
    pthread_mutex_lock(&syncer->lock);
    syncer->over = true;
    pthread_cond_signal(&syncer->changed);
    pthread_mutex_unlock(&syncer->lock);
    pthread_join(syncer->thread, NULL);
    pthread_cond_destroy(&syncer->changed);
    pthread_mutex_destroy(&syncer->lock);
    free(syncer);
}
