/* SPDX-License-Identifier: MIT
 *
 * The last words of a process that broke.
 */
#ifndef NEAP_BASE_CRASH_H
#define NEAP_BASE_CRASH_H

/* Built with AddressSanitizer, which reports crashes and refuses sizes in its way. */
#if defined(__SANITIZE_ADDRESS__)
#define NEAP_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NEAP_ASAN 1
#endif
#endif

/* Ends the process with `status` now: no atexit handler, no stdio buffer is written.
 * For signal handlers, children that could not exec, and threads that must not
 * wait for another one. */
_Noreturn void neap_exit_now(int status);

/* From here on a crash (a bad access, a failed assert, a library's abort) ends the
 * process with status 70 and one line on stderr, as running out of memory does:
 * the server rolls back, and the next run settles what was in doubt. Sanitizers
 * keep their own report. For the main thread's stack and all threads' faults. */
void neap_crash_open(void);

/* Names the library that the main thread is about to call, for those last words, or
 * NULL behind the call. For libraries known to crash. The name is borrowed. */
void neap_crash_in(const char *name);

#endif
