/* Error numbers of Linux, those that the runtime names. */
#ifndef EDGEQ_BARE_ERRNO_H
#define EDGEQ_BARE_ERRNO_H
#define EAGAIN 11
#define ENOMEM 12
#define EINVAL 22

int edgeq_errno(void); /* of this thread's latest failure; 0 when none is known */
#define errno edgeq_errno()
#endif
