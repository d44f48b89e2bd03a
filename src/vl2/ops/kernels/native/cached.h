#ifndef VL2_CACHED_H
#define VL2_CACHED_H

#include <stdint.h>

#define RUN 16 /* cached tokens that are widened to float32 at a time */

/* Rows of queries, keys and values are padded, so that any vector length divides them. */
static inline int64_t padded_width(int64_t width) { return (width + 31) / 32 * 32; }

#endif
