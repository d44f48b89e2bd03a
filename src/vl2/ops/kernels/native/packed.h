/* What the kernels share: quantised weights, quantised activations, and one table of inner loops
 * per instruction set.
 *
 * A quantised weight [n, k] lies in blocks of 16 rows, so that one vector register holds the same
 * four columns of 16 rows. k is filled up to a multiple of `group`, n to a multiple of 16.
 *
 *   codes   8 bits: [block][k / 4][16 rows][4 columns], one byte each
 *           4 bits: [block][k / 8][16 rows][4 columns], low half: columns 0-3 of 8, high half: 4-7
 *   scales  bfloat16, [block][k / group][16 rows]
 *
 * A weight is (code - zero) * scale, where zero is 128 or 8.
 *
 * Activations are quantised row by row, `group` columns at a time, to signed bytes of -127 to 127
 * with a float32 scale and the sum of the bytes. All dot products of bytes are exact, so every
 * instruction set gives the same numbers up to the rounding of the float32 sums over groups, and a
 * row gives the same numbers whatever rows stand beside it.
 */
#ifndef VL2_PACKED_H
#define VL2_PACKED_H

#include <stdint.h>
#include <stdlib.h>

#define ROWS 16     /* rows of a weight in one block */
#define TOKENS 8    /* activations that one call of a tile function takes */
#define MAX_GROUP 256

#ifdef _OPENMP
#include <omp.h>
static inline int vl2_thread(void) { return omp_get_thread_num(); }
#else
static inline int vl2_thread(void) { return 0; }
#endif

enum { FLOAT32 = 0, BFLOAT16 = 1 };
enum { OK = 0, NO_MEMORY = 1, BAD_SHAPE = 2 };

typedef struct {
    const uint8_t *codes;
    const uint16_t *scales;
    int64_t blocks; /* of 16 rows */
    int64_t groups; /* k / group */
    int64_t group;
    int64_t bits; /* 4 or 8 */
} packed;

typedef struct {
    const int8_t *codes;  /* [groups * group] */
    const float *scales;  /* [groups] */
    const int32_t *sums;  /* [groups] */
} activation;

/* Writes the products of one block with `count` <= TOKENS activations to out[][16]. */
typedef void (*tile_function)(const packed *weight, const uint8_t *codes, const uint16_t *scales,
                              const activation *tokens, int count, float (*out)[ROWS]);

typedef struct {
    const char *name;
    tile_function tile4, tile8;
    /* x [k] of a type -> bytes [groups * group], scales and sums [groups] */
    void (*quantise)(const void *x, int type, int64_t k, int64_t groups, int64_t group,
                     int8_t *codes, float *scales, int32_t *sums);
    /* gate[i] = silu(gate[i]) * up[i] */
    void (*silu_times)(float *gate, const float *up, int64_t count);
    void (*store)(const float *x, int64_t count, void *y, int type);
    /* one part of the cache for all heads; see latent.c */
    void (*latent_part)(const float *query, int64_t heads, const void *rows, int type,
                        int64_t tokens, int64_t stride, int64_t rank, int64_t width, float *top,
                        float *total, float *mixed, float *scratch);
} instruction_set;

extern const instruction_set vl2_portable;
extern const instruction_set vl2_avx2;
extern const instruction_set vl2_avx512;
extern const instruction_set *vl2_active;

static inline int64_t block_bytes(const packed *weight) {
    return weight->groups * weight->group * 2 * weight->bits;
}

/* The products of block `block` with `count` activations, any number of them up to TOKENS. */
static inline void run_tile(const packed *weight, int64_t block, const activation *tokens,
                            int count, float (*out)[ROWS]) {
    const uint8_t *codes = weight->codes + block * block_bytes(weight);
    const uint16_t *scales = weight->scales + block * weight->groups * ROWS;
    (weight->bits == 4 ? vl2_active->tile4 : vl2_active->tile8)(weight, codes, scales, tokens,
                                                                count, out);
}

static inline int64_t type_size(int type) { return type == BFLOAT16 ? 2 : 4; }

static inline int shape_is_sound(const packed *weight) {
    return (weight->bits == 4 || weight->bits == 8) && weight->group % 8 == 0 &&
           weight->group >= ROWS && weight->group % ROWS == 0 && weight->group <= MAX_GROUP;
}

/* Quantised rows in one allocation; free(buffer) when done. */
typedef struct {
    char *buffer;
    int8_t *codes;
    float *scales;
    int32_t *sums;
    int64_t groups, group;
} activations;

static inline int allocate_rows(activations *rows, int64_t count, int64_t groups, int64_t group) {
    int64_t codes = count * groups * group, scales = count * groups * 4;
    rows->buffer = malloc((size_t)(codes + 2 * scales + 64));
    if (rows->buffer == NULL) return 0;
    rows->codes = (int8_t *)(rows->buffer + 2 * scales);
    rows->scales = (float *)rows->buffer;
    rows->sums = (int32_t *)(rows->buffer + scales);
    rows->groups = groups;
    rows->group = group;
    return 1;
}

static inline activation row_of(const activations *rows, int64_t index) {
    activation row = {rows->codes + index * rows->groups * rows->group,
                      rows->scales + index * rows->groups, rows->sums + index * rows->groups};
    return row;
}

static inline void quantise_row(const activations *rows, int64_t index, const void *x, int type,
                                int64_t k) {
    vl2_active->quantise(x, type, k, rows->groups, rows->group,
                         rows->codes + index * rows->groups * rows->group,
                         rows->scales + index * rows->groups, rows->sums + index * rows->groups);
}

#endif
