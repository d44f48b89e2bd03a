/* Memory in huge pages: weights are read once a token, and with pages of 4 kB the processor spends a
 * fifth of that time on looking up where they lie. */
#if defined(__linux__)
#define _DEFAULT_SOURCE
#include <sys/mman.h>

#include "kernels.h"

#define HUGE ((uintptr_t)2 << 20)
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

void vl2_huge_pages(void *start, int64_t bytes, int now) {
    uintptr_t first = ((uintptr_t)start + HUGE - 1) / HUGE * HUGE;
    uintptr_t end = ((uintptr_t)start + (uintptr_t)bytes) / HUGE * HUGE;
    if (end <= first) return;
    /* A system that will not do it leaves everything as it is. */
    madvise((void *)first, end - first, now ? MADV_COLLAPSE : MADV_HUGEPAGE);
}
#else
#include "kernels.h"

void vl2_huge_pages(void *start, int64_t bytes, int now) {
    (void)start, (void)bytes, (void)now;
}
#endif
