/* y = x W^T for a quantised W, and which instruction set computes it. */
#include <string.h>

#include "packed.h"

/* Activations of one pass stay in the second-level cache while the weights stream by. */
#define PASS_BYTES (384 * 1024)

const instruction_set *vl2_active = &vl2_portable;

#if defined(__x86_64__)
static int has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

static int has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}
#endif

/* Takes the instruction set of this name, or the best one for NULL; returns the name of the one
 * that is in use then. A name that the processor lacks changes nothing. */
const char *vl2_select(const char *name) {
    const instruction_set *found[3] = {&vl2_portable, NULL, NULL};
    int count = 1;
#if defined(__x86_64__)
    if (has_avx2()) found[count++] = &vl2_avx2;
    if (has_avx512()) found[count++] = &vl2_avx512;
#endif
    for (int i = 0; i < count; i++) {
        if (name == NULL || strcmp(name, found[i]->name) == 0) vl2_active = found[i];
    }
    return vl2_active->name;
}

static void write_block(const float (*tile)[ROWS], int count, int64_t block, int64_t n, char *y,
                        int type) {
    int64_t column = block * ROWS, size = type_size(type);
    int64_t width = n - column < ROWS ? n - column : ROWS;
    for (int t = 0; t < count; t++) {
        vl2_active->store(tile[t], width, y + (t * n + column) * size, type);
    }
}

static void multiply_block(const packed *weight, int64_t block, const activations *rows,
                           int64_t count, int64_t n, char *y, int type) {
    for (int64_t start = 0; start < count; start += TOKENS) {
        activation tokens[TOKENS];
        float tile[TOKENS][ROWS];
        int here = (int)(count - start < TOKENS ? count - start : TOKENS);
        for (int t = 0; t < here; t++) tokens[t] = row_of(rows, start + t);
        run_tile(weight, block, tokens, here, tile);
        write_block((const float (*)[ROWS])tile, here, block, n, y + start * n * type_size(type),
                    type);
    }
}

/* x [m][k] and y [m][n] without gaps, of one type. */
int vl2_linear(const packed *weight, int64_t n, int64_t k, const void *x, int64_t m, void *y,
               int type, int threads) {
    if (!shape_is_sound(weight) || k > weight->groups * weight->group || n > weight->blocks * ROWS)
        return BAD_SHAPE;
    int64_t columns = weight->groups * weight->group, size = type_size(type);
    int64_t pass = PASS_BYTES / columns / TOKENS * TOKENS;
    if (pass < TOKENS) pass = TOKENS;
    if (pass > m) pass = m;
    activations rows;
    if (!allocate_rows(&rows, pass, weight->groups, weight->group)) return NO_MEMORY;
#pragma omp parallel num_threads(threads)
    for (int64_t start = 0; start < m; start += pass) {
        int64_t here = m - start < pass ? m - start : pass;
#pragma omp for schedule(static)
        for (int64_t i = 0; i < here; i++) {
            quantise_row(&rows, i, (const char *)x + (start + i) * k * size, type, k);
        }
#pragma omp for schedule(static)
        for (int64_t block = 0; block < weight->blocks; block++) {
            multiply_block(weight, block, &rows, here, n, (char *)y + start * n * size, type);
        }
    }
    free(rows.buffer);
    return OK;
}
