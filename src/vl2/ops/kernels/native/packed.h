/* What the kernels share: packed weights, activations made ready for them, and one table of inner
 * loops per instruction set.
 *
 * A packed weight [n, k] lies in blocks of 16 rows, so that one vector register holds the same
 * columns of 16 rows. k is filled up to a multiple of `group`, n to a multiple of 16.
 *
 *   codes   16 bits: [block][k / 2][16 rows][2 columns], bfloat16
 *            8 bits: [block][k / 4][16 rows][4 columns], one byte each
 *            4 bits: [block][k / 8][16 rows][4 columns], low half: columns 0-3 of 8, high half: 4-7
 *   scales  bfloat16, [block][k / group][16 rows]; none with 16 bits
 *
 * A weight of 8 or 4 bits is (code - zero) * scale, where zero is 128 or 8. For these, activations
 * are quantised row by row, `group` columns at a time, to signed bytes of -127 to 127 with a
 * float32 scale and the sum of the bytes. All dot products of bytes are exact, so every
 * instruction set gives the same numbers up to the rounding of the float32 sums over groups.
 * For weights of 16 bits activations are rounded to bfloat16 and products summed in float32.
 *
 * A row gives the same numbers whatever rows stand beside it.
 */
#ifndef VL2_PACKED_H
#define VL2_PACKED_H

#include <stdint.h>
#include <stdlib.h>

#define ROWS 16     /* rows of a weight in one block */
#define TOKENS 8    /* activations that one call of a tile function takes */
#define PAIR 2      /* blocks that it takes */
#define MAX_GROUP 256

#ifdef _OPENMP
#include <omp.h>
static inline int vl2_thread(void) { return omp_get_thread_num(); }
#else
static inline int vl2_thread(void) { return 0; }
#endif

enum { FLOAT32 = 0, BFLOAT16 = 1 };
enum { NO_ACTIVATION = 0, GELU_TANH = 1 };
enum { OK = 0, NO_MEMORY = 1, BAD_SHAPE = 2 };

typedef struct {
    const uint8_t *codes;
    const uint16_t *scales;
    int64_t blocks; /* of 16 rows */
    int64_t groups; /* k / group */
    int64_t group;
    int64_t bits; /* 4, 8 or 16 */
} packed;

typedef struct {
    const int8_t *codes;  /* [groups * group]; with weights of 16 bits as many bfloat16 */
    const float *scales;  /* [groups] */
    const int32_t *sums;  /* [groups] */
} activation;

/* Writes the products of one block with `count` <= TOKENS activations to out[][16]. */
typedef void (*tile_function)(const packed *weight, const uint8_t *codes, const uint16_t *scales,
                              const activation *tokens, int count, float (*out)[ROWS]);

/* The same for `blocks` <= PAIR neighbouring blocks of 16 bits, the second one's products after
 * out[TOKENS]. */
typedef void (*halves_function)(const packed *weight, const uint8_t *codes, int blocks,
                                const activation *tokens, int count, float (*out)[ROWS]);

/* Neighbouring cached tokens: keys and values of a type, `stride` numbers from token to token; those
 * of the heads lie side by side. */
typedef struct {
    const void *keys, *values; /* values may be the beginnings of the keys */
    int type;
    int64_t tokens, stride;
    int64_t width, value_width;
    int64_t groups, heads; /* heads of keys, heads of queries for each */
    const char *next;      /* the tokens that come after these, to be fetched early; or NULL */
} cached_run;

typedef struct {
    const char *name;
    tile_function tile4, tile8;
    halves_function tile16;
    /* x [k] of a type -> bytes [groups * group], scales and sums [groups] */
    void (*quantise)(const void *x, int type, int64_t k, int64_t groups, int64_t group,
                     int8_t *codes, float *scales, int32_t *sums);
    /* x [k] of a type -> bfloat16 [columns], filled up with zeros */
    void (*halve)(const void *x, int type, int64_t k, int64_t columns, uint16_t *out);
    /* gate[i] = silu(gate[i]) * up[i] */
    void (*silu_times)(float *gate, const float *up, int64_t count);
    void (*store)(const float *x, int64_t count, void *y, int type);
    /* x[i] = x[i] + bias[i], bias being NULL for none, and then the activation of it */
    void (*finish)(float *x, const float *bias, int64_t count, int activation);
    /* one run of the cache for all heads; see cached.c */
    void (*attend)(const cached_run *run, const float *query, float *top, float *total,
                   float *mixed, float *scratch);
    /* One more part of a softmax: weights of scores[0 .. seen), 0 up to `count`; returns what all
     * earlier weights have to be multiplied with, for `top` is the highest score so far. */
    float (*soften)(float *scores, int64_t seen, int64_t count, float scale, float *top,
                    float *total, uint16_t *weights);
    /* out[i] = weight[i] * x[i] / sqrt(mean(x * x) + eps) */
    void (*normalise)(const float *x, const float *weight, float eps, int64_t width, float *out);
    /* out[i] = rows[i] . x, and out = sum of x[i] * rows[i]; rows of a type, `stride` apart */
    void (*dots)(const void *rows, int type, int64_t count, int64_t stride, const float *x,
                 int64_t width, float *out);
    void (*combine)(const void *rows, int type, int64_t count, int64_t stride, const float *x,
                    int64_t width, float *out);
} instruction_set;

extern const instruction_set vl2_portable;
extern const instruction_set vl2_avx2;
extern const instruction_set vl2_avx512;
extern const instruction_set vl2_avx512bf16;
extern const instruction_set *vl2_active;

static inline int64_t type_size(int type) { return type == BFLOAT16 ? 2 : 4; }

static inline int64_t block_bytes(const packed *weight) {
    return weight->groups * weight->group * 2 * weight->bits;
}

static inline int64_t code_size(int64_t bits) { return bits == 16 ? 2 : 1; }

/* The products of `blocks` <= PAIR blocks from `block` on with `count` <= TOKENS activations;
 * those of the second block come after out[TOKENS]. */
static inline void run_tile(const packed *weight, int64_t block, int blocks,
                            const activation *tokens, int count, float (*out)[ROWS]) {
    const uint8_t *codes = weight->codes + block * block_bytes(weight);
    if (weight->bits == 16) {
        vl2_active->tile16(weight, codes, blocks, tokens, count, out);
        return;
    }
    const tile_function tile = weight->bits == 4 ? vl2_active->tile4 : vl2_active->tile8;
    for (int i = 0; i < blocks; i++) {
        const uint16_t *scales = weight->scales + (block + i) * weight->groups * ROWS;
        tile(weight, codes + i * block_bytes(weight), scales, tokens, count, out + i * TOKENS);
    }
}

static inline int shape_is_sound(const packed *weight) {
    return (weight->bits == 4 || weight->bits == 8 || weight->bits == 16) &&
           weight->group >= ROWS && weight->group % ROWS == 0 && weight->group <= MAX_GROUP;
}

/* Rows made ready for a weight, in one allocation; free(buffer) when done. */
typedef struct {
    char *buffer;
    int8_t *codes;
    float *scales;
    int32_t *sums;
    int64_t groups, group, bits;
} activations;

static inline int allocate_rows(activations *rows, int64_t count, const packed *weight) {
    int64_t scales = count * weight->groups * 4;
    int64_t codes = count * weight->groups * weight->group * code_size(weight->bits);
    rows->buffer = malloc((size_t)(codes + 2 * scales + 64));
    if (rows->buffer == NULL) return 0;
    rows->codes = (int8_t *)(rows->buffer + 2 * scales);
    rows->scales = (float *)rows->buffer;
    rows->sums = (int32_t *)(rows->buffer + scales);
    rows->groups = weight->groups;
    rows->group = weight->group;
    rows->bits = weight->bits;
    return 1;
}

static inline activation row_of(const activations *rows, int64_t index) {
    int64_t columns = rows->groups * rows->group;
    activation row = {rows->codes + index * columns * code_size(rows->bits),
                      rows->scales + index * rows->groups, rows->sums + index * rows->groups};
    return row;
}

/* Makes x [k] ready as row `index`; `k` columns of it from group `first` on, `groups` groups. */
static inline void prepare_part(const activations *rows, int64_t index, int64_t first,
                                int64_t groups, const void *x, int type, int64_t k) {
    int64_t place = index * rows->groups + first;
    int8_t *codes = rows->codes + place * rows->group * code_size(rows->bits);
    if (rows->bits == 16) {
        vl2_active->halve(x, type, k, groups * rows->group, (uint16_t *)codes);
    } else {
        vl2_active->quantise(x, type, k, groups, rows->group, codes, rows->scales + place,
                             rows->sums + place);
    }
}

static inline void prepare_row(const activations *rows, int64_t index, const void *x, int type,
                               int64_t k) {
    prepare_part(rows, index, 0, rows->groups, x, type, k);
}

#endif
