/*
 * process.h - norikvd as a process: what it inherits, its signals, its parent.
 */
#ifndef NORIKVD_PROCESS_H
#define NORIKVD_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Closes descriptors that the parent left open, allows as many as may be allowed,
 * ignores SIGPIPE and blocks the signals that process_wait() looks for. Before any
 * thread is started.
 */
extern void process_init(void);

/* False where the process is not, or no longer, a child of this parent. */
extern bool process_follow(pid_t parent);

/*
 * Sleeps. True where the process is to end: a signal came, or the parent that
 * it follows is gone; reason then says which.
 */
extern bool process_wait(unsigned milliseconds, const char **reason);

/* From here on a signal ends the process at once. */
extern void process_end_on_signal(void);

/* Ends the process with this status when the time is up and it is still there. */
extern void process_end_after(unsigned milliseconds, int exit_status);

#endif
